"""Similarity of two representations of the same images: centred kernel alignment, and subspaces.

With centred features X (n × p), Y (n × q) and their Gram matrices K = XXᵀ, L = YYᵀ,

    CKA(X, Y) = HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)).

The biased HSIC is the inner product of the doubly centred Grams (Kornblith et al. 2019, arXiv
1905.00414, section 3). The debiased one is Song et al. (2012), as in Nguyen et al. (2021, arXiv
2010.15327, eq. 3); U-centred Grams (Székely and Rizzo 2014) make it an inner product as well, so
that a grid over layers is one matrix product. Nothing is clipped: debiased values may lie below 0
or above 1.

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


def cka_grid(
    grams_x: Float64[Tensor, "*seeds layers_x images images"],
    grams_y: Float64[Tensor, "*seeds layers_y images images"],
    debiased: bool = True,
) -> Float64[Tensor, "*seeds layers_x layers_y"]:
    """Return CKA of every layer of one network with every layer of another, as one matrix product.

    NaN in the row or column of a layer where it is undefined; `undefined_reason` says why.
    """
    return unit_grams(grams_x, debiased) @ unit_grams(grams_y, debiased).mT


def undefined_reason(gram: Float64[Tensor, "images images"], debiased: bool = True) -> str | None:
    """Return why CKA with this Gram is NaN, in words; None where it is defined."""
    if not gram.isfinite().all():
        return "values that are not finite: features overflowed"
    if unit_grams(gram, debiased).isfinite().all():
        return None
    if unit_grams(gram, debiased=False).isfinite().all():
        return "all images are equally similar: the debiased form has nothing left to compare"
    return "constant features: every image has the same representation"


def _leading(
    x: Float64[Tensor, "images width"], components: int, precision: torch.dtype
) -> tuple[Float64[Tensor, "images components"], Float64[Tensor, " components"]]:
    """Return the top left singular vectors of centred features, and their singular values, largest first.

    From the Gram matrix, whose size is that of the images, not of the features. Values beyond the rank are
    NaN: the direction is arbitrary.
    """
    available = min(x.shape[0] - 1, x.shape[1])
    if not 1 <= components <= available:
        raise ValueError(
            f"{components} principal directions are requested, but {x.shape[0]} images with "
            f"{x.shape[1]} features have 1 to {available}: choose a number in this range"
        )
    squares, vectors = torch.linalg.eigh(x @ x.T)
    lengths = squares.clamp(min=0).sqrt().flip(0)[:components]
    # A Gram holds squares: a length below 1e-7 of the largest is nothing but rounding, in any precision.
    floor = lengths[0] * max(max(x.shape) * torch.finfo(precision).eps, RELATIVE_FLOOR)
    return vectors.flip(1)[:, :components], torch.where(lengths > floor, lengths, torch.nan)


def subspace_similarity(
    x: Float[Tensor, "images ..."], y: Float[Tensor, "images ..."], components: int = 10
) -> Float64[Tensor, ""]:
    """Return ‖V_kᵀU_k‖²_F / k for the top k principal directions U_k of X and V_k of Y.

    1 when both span the same subspace, 0 when they are orthogonal, k/p on average for random
    subspaces of p features. Unlike CKA it compares directions of the features themselves, so it
    is not invariant to a rotation of one representation. Ramasesh et al. (2021, arXiv 2007.07400);
    the paper on invariances (arXiv 2307.06006) gives neither the formula nor k. NaN when a
    representation has fewer than k directions (`rank_reason` says so).

    Raises:
        ValueError: different numbers of features, fewer than 4 images, or more components than images − 1
            or features.
    """
    if x[0].numel() != y[0].numel():
        raise ValueError(
            f"subspaces of {x[0].numel()} and {y[0].numel()} features cannot be compared: "
            "give the same layer of both networks"
        )
    one, other = centered(x), centered(y)
    (u, u_lengths), (v, v_lengths) = (
        _leading(each, components, features.dtype) for each, features in ((one, x), (other, y))
    )
    # Directions are Xᵀu / σ: their products need XYᵀ alone.
    overlap = (u / u_lengths).T @ (one @ other.T) @ (v / v_lengths)
    return overlap.square().sum() / components


def rank_reason(features: Float[Tensor, "images ..."], components: int) -> str | None:
    """Return why the subspace similarity of these features is NaN; None where it is defined."""
    lengths = _leading(centered(features), components, features.dtype)[1]
    rank = int(lengths.isfinite().sum())
    if rank == components:
        return None
    if rank == 0:
        return "constant features: every image has the same representation"
    return f"the features span {rank} directions, fewer than the {components} requested"
