"""Similarity of the principal subspaces of two representations with the same features."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from headstart.metrics.representations.grams import centered


def principal_directions(
    features: Float[Tensor, "images ..."], components: int
) -> Float64[Tensor, "width components"]:
    """Return the top principal directions of the centred features: orthonormal columns, largest first.

    Columns beyond the rank of the features are NaN: their direction is arbitrary.

    Raises:
        ValueError: fewer than 4 images, or more components than images − 1 or features.
    """
    x = centered(features)
    available = min(x.shape[0] - 1, x.shape[1])
    if not 1 <= components <= available:
        raise ValueError(
            f"{components} principal directions are requested, but {x.shape[0]} images with "
            f"{x.shape[1]} features have 1 to {available}: choose a number in this range"
        )
    _, values, directions = torch.linalg.svd(x, full_matrices=False)
    floor = values[0] * max(x.shape) * torch.finfo(features.dtype).eps
    return torch.where(values > floor, directions.T, torch.nan)[:, :components]


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
        ValueError: different numbers of features, or see `principal_directions`.
    """
    if x[0].numel() != y[0].numel():
        raise ValueError(
            f"subspaces of {x[0].numel()} and {y[0].numel()} features cannot be compared: "
            "give the same layer of both networks"
        )
    overlap = principal_directions(x, components).T @ principal_directions(y, components)
    return overlap.square().sum() / components


def rank_reason(features: Float[Tensor, "images ..."], components: int) -> str | None:
    """Return why the subspace similarity of these features is NaN; None where it is defined."""
    directions = principal_directions(features, components)
    rank = int(directions.isfinite().all(0).sum())
    if rank == components:
        return None
    if rank == 0:
        return "constant features: every image has the same representation"
    return f"the features span {rank} directions, fewer than the {components} requested"
