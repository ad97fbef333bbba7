"""Test parts for datasets that come without one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt8

from headstart.artifacts.seeds import derive_seed


def stratified_test(
    labels: Int64[np.ndarray, " images"], fraction: float, seed: int
) -> UInt8[np.ndarray, " images"]:
    """Mark `fraction` of each class as test part (1), chosen by `seed`, the rest as training (0).

    Each class with two images or more keeps at least one on either side; a single image is trained
    on.
    """
    test = np.zeros(len(labels), dtype=np.uint8)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        number = min(max(round(fraction * len(members)), 1), len(members) - 1)
        random = np.random.default_rng(derive_seed("test part", seed, int(label)))
        test[random.permutation(members)[:number]] = 1
    return test
