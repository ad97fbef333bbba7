"""The handwritten digits inside scikit-learn: real images that need no network."""

from __future__ import annotations

import numpy as np
from PIL import Image

from headstart.params.datasets import Digits
from headstart.tasks.storage import Contents, stratified_test

_BRIGHTEST = 16  # the pixels of load_digits count ink from 0 to 16


def make(dataset: Digits) -> Contents:
    """Return the 1,797 digits, scaled to 0..255 and enlarged from 8 × 8 to `size` (bicubic)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = np.rint(pixels.reshape(-1, 8, 8) * (255 / _BRIGHTEST)).astype(np.uint8)
    side = (dataset.size, dataset.size)
    images = np.stack(
        [np.asarray(Image.fromarray(each).resize(side, Image.Resampling.BICUBIC)) for each in small]
    )
    labels = labels.astype(np.int64)
    return Contents(
        images=images[:, None],
        labels=labels,
        test=stratified_test(labels, dataset.test_fraction, dataset.seed),
        classes=tuple(str(digit) for digit in range(10)),
        licence="CC BY 4.0",
        source="Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI",
    )
