"""Gram matrices of representations: how alike each pair of images is, and how they are centred.

The first dimension of a representation is the images; everything after it is flattened. Means are
removed before any product and all sums are float64, because a large common offset ruins similarity
otherwise. All functions raise ValueError for fewer than 4 images.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

Layers = Sequence[Float[Tensor, "images ..."]]

MINIMUM_IMAGES = 4
# Float32 features carry a rounding error of about 1e-7: a centred Gram this small is nothing else.
RELATIVE_FLOOR = 1e-7


def centered(features: Float[Tensor, "images ..."]) -> Float64[Tensor, "images width"]:
    """Return features, flattened, minus their mean over the images; exactly zero if they are constant.

    Constant means that the deviations are within the rounding error of the features' precision.
    """
    require_images(features.shape[0])
    flat = features.flatten(1).double()
    deviations = flat - flat.mean(0)
    rounding = torch.finfo(features.dtype).eps * flat.norm()
    return torch.where(deviations.norm() <= rounding, torch.zeros_like(deviations), deviations)


def require_images(images: int) -> None:
    """Raise ValueError for fewer than 4 images, where the debiased form does not exist."""
    if images < MINIMUM_IMAGES:
        raise ValueError(
            f"similarity needs at least {MINIMUM_IMAGES} images, found {images}: "
            "use more images, or larger batches, or drop a short last batch"
        )


def linear_gram(features: Float[Tensor, "images ..."]) -> Float64[Tensor, "images images"]:
    """Return K = XXᵀ of the centred features; zero when they are constant."""
    x = centered(features)
    return x @ x.T


def linear_grams(layers: Layers) -> Float64[Tensor, "layers images images"]:
    """Return `linear_gram` of every layer; widths may differ."""
    return torch.stack([linear_gram(layer) for layer in layers])


def rbf_gram(
    features: Float[Tensor, "images ..."], bandwidth_fraction: float = 0.5
) -> Float64[Tensor, "images images"]:
    """Return K_ij = exp(−‖x_i − x_j‖² / 2σ²), σ = `bandwidth_fraction` × median distance of two images.

    Kornblith et al. (2019), section 3. All ones when the features are constant; NaN when the
    median distance is zero although they are not.
    """
    gram = linear_gram(features)
    norms = gram.diagonal()
    squared = (norms[:, None] + norms[None, :] - 2 * gram).clamp_min(0).fill_diagonal_(0)
    if not squared.any():
        return torch.ones_like(gram)
    off_diagonal = torch.ones_like(gram, dtype=torch.bool).triu(1)
    median = squared[off_diagonal].sqrt().median()
    return torch.exp(-squared / (2 * (bandwidth_fraction * median) ** 2))


def u_centered(
    gram: Float64[Tensor, "*layers images images"],
) -> Float64[Tensor, "*layers images images"]:
    """Return K̃ with zero diagonal and zero row sums: ⟨K̃, L̃⟩ / n(n−3) is the debiased HSIC."""
    images = gram.shape[-1]
    result = gram.clone()
    result.diagonal(dim1=-2, dim2=-1).zero_()
    rows = result.sum(-1) / (images - 2)
    grand = rows.sum(-1)[..., None, None] / (images - 1)
    result -= rows[..., :, None]
    result -= rows[..., None, :] - grand
    result.diagonal(dim1=-2, dim2=-1).zero_()
    return result


def double_centered(
    gram: Float64[Tensor, "*layers images images"],
) -> Float64[Tensor, "*layers images images"]:
    """Return HKH with H = I − 11ᵀ/n: ⟨HKH, HLH⟩ / (n−1)² is the biased HSIC."""
    rows = gram.mean(-1)
    grand = rows.mean(-1)[..., None, None]
    return gram - rows[..., :, None] - rows[..., None, :] + grand


def unit_grams(
    grams: Float64[Tensor, "*layers images images"], debiased: bool = True
) -> Float64[Tensor, "*layers entries"]:
    """Return centred Grams as vectors of length one, whose inner product is CKA; NaN where undefined."""
    require_images(grams.shape[-1])
    flat = (u_centered(grams) if debiased else double_centered(grams)).flatten(-2)
    norms = flat.norm(dim=-1, keepdim=True)
    floor = RELATIVE_FLOOR * grams.flatten(-2).norm(dim=-1, keepdim=True)
    return flat / torch.where(norms > floor, norms, torch.nan)


def undefined_reason(gram: Float64[Tensor, "images images"], debiased: bool = True) -> str | None:
    """Return why CKA with this Gram is NaN, in words; None where it is defined."""
    if not gram.isfinite().all():
        return "values that are not finite: features overflowed, or the RBF bandwidth is zero"
    if unit_grams(gram, debiased).isfinite().all():
        return None
    if unit_grams(gram, debiased=False).isfinite().all():
        return "all images are equally similar: the debiased form has nothing left to compare"
    return "constant features: every image has the same representation"
