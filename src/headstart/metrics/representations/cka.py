"""Similarity of two representations of the same images: centred kernel alignment (CKA).

With centred features X (n × p), Y (n × q) and their Gram matrices K = XXᵀ, L = YYᵀ,

    CKA(X, Y) = HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)).

The biased HSIC is the inner product of the doubly centred Grams (Kornblith et al. 2019, arXiv
1905.00414, section 3). The debiased one is Song et al. (2012), as in Nguyen et al. (2021, arXiv
2010.15327, eq. 3); U-centred Grams (Székely and Rizzo 2014) make it an inner product as well, so
that a grid over layers is one matrix product. Nothing is clipped: debiased values may lie below 0
or above 1. All functions raise ValueError for fewer than 4 images.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from headstart.metrics.representations.grams import (
    RELATIVE_FLOOR,
    Layers,
    centered,
    linear_grams,
    u_centered,
    unit_grams,
)

Route = Literal["auto", "gram", "features"]


def cka_grid(
    grams_x: Float64[Tensor, "*seeds layers_x images images"],
    grams_y: Float64[Tensor, "*seeds layers_y images images"],
    debiased: bool = True,
) -> Float64[Tensor, "*seeds layers_x layers_y"]:
    """Return CKA of every layer of one network with every layer of another, as one matrix product.

    NaN in the row or column of a layer where it is undefined; `undefined_reason` says why.
    """
    return unit_grams(grams_x, debiased) @ unit_grams(grams_y, debiased).mT


def linear_cka(
    x: Float[Tensor, "images ..."],
    y: Float[Tensor, "images ..."],
    debiased: bool = True,
    route: Route = "auto",
) -> Float64[Tensor, ""]:
    """Return linear CKA of two representations of the same images; NaN for constant features.

    `route` changes the cost only: "gram" forms n × n matrices, "features" p × q ones, "auto"
    takes the cheaper. `undefined_reason(linear_gram(x))` says why a value is NaN.
    """
    return linear_cka_grid([x], [y], debiased, route)[0, 0]


def linear_cka_grid(
    xs: Layers, ys: Layers, debiased: bool = True, route: Route = "auto"
) -> Float64[Tensor, "layers_x layers_y"]:
    """Return `linear_cka` of every layer in `xs` with every layer in `ys`; widths may differ."""
    if (route if route != "auto" else cheaper_route(xs, ys)) == "gram":
        return cka_grid(linear_grams(xs), linear_grams(ys), debiased)
    x, y = [centered(layer) for layer in xs], [centered(layer) for layer in ys]
    cross, scale_x, scale_y = _cross_norms(x, y), _self_scale(x, debiased), _self_scale(y, debiased)
    if debiased:
        norms_x, norms_y = _image_norms(x), _image_norms(y)
        traces = norms_x.sum(1)[:, None] * norms_y.sum(1)[None, :]
        cross = _without_diagonal_terms(cross, norms_x @ norms_y.T, traces, xs[0].shape[0])
    return cross / (scale_x[:, None] * scale_y[None, :])


def cheaper_route(xs: Layers, ys: Layers) -> Literal["gram", "features"]:
    """Return the route with fewer multiplications: L·n²·p + L²·n² (Grams) or L²·n·p² (features)."""
    images = xs[0].shape[0]
    widths_x, widths_y = ([layer[0].numel() for layer in layers] for layers in (xs, ys))
    grams = images * (sum(widths_x) + sum(widths_y) + len(widths_x) * len(widths_y))
    selves = sum(width**2 for width in [*widths_x, *widths_y])
    return "features" if sum(widths_x) * sum(widths_y) + selves < grams else "gram"


def _cross_norms(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
    """Return ‖XᵀY‖²_F of all pairs."""
    widths, together = [y.shape[1] for y in ys], torch.cat(list(ys), dim=1)
    rows = [(x.T @ together).square().sum(0).split(widths) for x in xs]
    return torch.stack([torch.stack([part.sum() for part in row]) for row in rows])


def _image_norms(layers: Sequence[Tensor]) -> Tensor:
    """Return k_ii = ‖x_i‖² of every layer and image."""
    return torch.stack([x.square().sum(1) for x in layers])


def _without_diagonal_terms(squared: Tensor, products: Tensor, traces: Tensor, n: int) -> Tensor:
    """Return n(n−3) times the debiased HSIC, from ‖XᵀY‖²_F, Σ k_ii l_ii and tr K · tr L.

    K has zero row sums, so K̃1 = −diag(K) once its diagonal is removed, and Song's estimator becomes
    ‖XᵀY‖²_F − n/(n−2) · Σ k_ii l_ii + tr K · tr L / ((n−1)(n−2)).
    """
    return squared - n / (n - 2) * products + traces / ((n - 1) * (n - 2))


def _self_scale(layers: Sequence[Tensor], debiased: bool) -> Tensor:
    """Return √HSIC(K, K) of each layer, up to the factor that cancels; NaN where it vanishes."""
    squared = torch.stack([(x.T @ x).square().sum() for x in layers])
    hsic = squared
    if debiased:
        norms = _image_norms(layers)
        products, traces = norms.square().sum(1), norms.sum(1).square()
        hsic = _without_diagonal_terms(squared, products, traces, layers[0].shape[0])
    return torch.where(hsic > RELATIVE_FLOOR**2 * squared, hsic, torch.nan).sqrt()


class MinibatchCka:
    """Debiased linear CKA over layers, gathered batch by batch.

    Each of the three HSICs is averaged over the batches, weighted by their number of images, and
    the ratio is taken once at the end (Nguyen et al. 2021, eq. 3). The debiased HSIC of a batch
    has the same expectation whatever the batch's size, so that unequal batches are right. The
    biased form has not, and is not offered.
    """

    def __init__(self) -> None:
        self.images = 0
        self._cross: Tensor | None = None
        # Of each network: self-HSICs of the layers, and what rounding is measured against.
        self._selves: list[tuple[Tensor, Tensor]] = []

    def update(self, xs: Layers, ys: Layers) -> None:
        """Add one batch: the layers of both networks on the same images."""
        n = xs[0].shape[0]
        grams = [linear_grams(layers) for layers in (xs, ys)]
        x, y = (u_centered(each).flatten(1) for each in grams)
        cross = x @ y.T / (n - 3)
        selves = [
            (flat.square().sum(1) / (n - 3), each.flatten(1).square().sum(1) / (n - 3))
            for flat, each in zip((x, y), grams, strict=True)
        ]
        if self._cross is not None:
            cross = self._cross + cross
            pairs = zip(self._selves, selves, strict=True)
            selves = [(old[0] + new[0], old[1] + new[1]) for old, new in pairs]
        self._cross, self._selves = cross, selves
        self.images += n

    def compute(self) -> Float64[Tensor, "layers_x layers_y"]:
        """Return CKA of all layer pairs over the batches so far; NaN where it is undefined (`reasons`)."""
        if self._cross is None:
            raise ValueError("no batch was added: call update before compute")
        scale_x, scale_y = (
            torch.where(hsic > RELATIVE_FLOOR**2 * size, hsic, torch.nan).sqrt()
            for hsic, size in self._selves
        )
        return self._cross / (scale_x[:, None] * scale_y[None, :])

    def reasons(self) -> tuple[list[str | None], list[str | None]]:
        """Return why each layer of either network makes its values NaN, in words; None where it does not."""
        if self._cross is None:
            raise ValueError("no batch was added: call update before reasons")
        x, y = ([_reason(*pair) for pair in zip(*both, strict=True)] for both in self._selves)
        return x, y


def _reason(hsic: Tensor, size: Tensor) -> str | None:
    """Return the words of `undefined_reason`, from a self-HSIC and the size of its Grams."""
    if not size.isfinite():
        return "values that are not finite: features overflowed"
    if hsic > RELATIVE_FLOOR**2 * size:
        return None
    if size == 0:
        return "constant features: every image of a batch has the same representation"
    return "all images are equally similar: the debiased form has nothing left to compare"
