"""CKA and STIR beside what other programs give for the same numbers; their values are stored here.

Inputs are sines of squares, so that every machine has the same ones. The other programs are torch_cka
(PyTorch-Model-Compare) and the code of STIR (arXiv 2206.11939), each run once on these inputs.
"""

import math

import pytest
import torch
from torch import Tensor

from headstart.metrics import InversionOptimizer, invert, linear_cka


def waves(*shape: int, offset: float = 0.0) -> Tensor:
    count = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    return torch.sin(0.7548776662 * count.square() + offset).view(shape)


class Layers:
    """Two layers of fixed weights, with images of 3 × 4 × 4 as input."""

    def __init__(self, offset: float) -> None:
        self.first = waves(24, 48, offset=offset).float() / 4
        self.second = waves(6, 24, offset=offset + 1).float() / 2

    def __call__(self, images: Tensor) -> Tensor:
        return (images.flatten(1) @ self.first.T).tanh().matmul(self.second.T).tanh()


X = waves(12, 8)
Y = waves(12, 5, offset=2.0) + X[:, :5]


@pytest.mark.parametrize(
    ("debiased", "value", "tolerance"),
    [
        # torch_cka, its sums in float64.
        (True, 0.2933318955990971, 1e-12),
        # STIR's CKA over batches, one batch, float32.
        (True, 0.2933318614959717, 1e-7),
        # STIR's linear CKA, float32.
        (False, 0.5636547207832336, 1e-7),
    ],
)
def test_cka_is_that_of_torch_cka_and_of_stirs_code(
    debiased: bool, value: float, tolerance: float
) -> None:
    assert linear_cka(X, Y, debiased) == pytest.approx(value, abs=tolerance)


# After many steps of constant size an image jumps about its optimum, and rounding decides where it ends.
@pytest.mark.parametrize(
    ("steps", "value", "tolerance"),
    [(50, 0.6440439820289612, 1e-5), (500, 0.6050233840942383, 0.01)],
)
def test_stir_is_that_of_its_authors_code(steps: int, value: float, tolerance: float) -> None:
    inverted, evaluated = Layers(0.0), Layers(5.0)
    images = (0.5 + 0.5 * waves(10, 3, 4, 4, offset=3.0)).float()
    found = invert(inverted, inverted(images), images.flip(0), InversionOptimizer(steps=steps))
    stir = linear_cka(evaluated(images), evaluated(found.images), debiased=False)
    assert stir == pytest.approx(value, abs=tolerance)
    # Without inversion, their value of the two networks on the images themselves.
    plain = linear_cka(inverted(images), evaluated(images), debiased=False)
    assert plain == pytest.approx(0.5663002729415894, abs=1e-6)
