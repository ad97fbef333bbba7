"""How similar two representations of the same images are, beside CKA, and which images decide it.

Everything but the neighbours and the dissimilarities needs Gram matrices of centred features alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from headstart.metrics.representations.half_samples import hsic_of_sums
from headstart.metrics.representations.similarity import Layers

Grid = Float64[Tensor, "xs ys"]


def procrustes_grid(
    grams_x: Float64[Tensor, "xs images images"], grams_y: Float64[Tensor, "ys images images"]
) -> Grid:
    """Return ‖XᵀY‖_* / (‖X‖_F ‖Y‖_F) of all layers: 1 less half the squared orthogonal Procrustes distance.

    1 where a rotation and a scale take one onto the other (Ding et al. 2021, arXiv 2108.01661). Biased upwards
    where features are many, as biased CKA is.
    """
    roots, others = ([_root(gram) for gram in grams] for grams in (grams_x, grams_y))
    return torch.stack([torch.stack([_nuclear(x.T @ y) for y in others]) for x in roots])


def _nuclear(product: Tensor) -> Tensor:
    # The decomposition refuses what is not finite.
    return torch.linalg.svdvals(product).sum() if product.isfinite().all() else product.sum()


def _root(gram: Float64[Tensor, "images images"]) -> Float64[Tensor, "images images"]:
    """Return S of length one with SSᵀ proportional to the Gram; NaN where it is zero or not finite."""
    if not gram.isfinite().all() or gram.trace() <= 0:
        return torch.full_like(gram, torch.nan)
    values, vectors = torch.linalg.eigh(gram)
    return vectors * values.clamp(min=0).sqrt() / gram.trace().sqrt()


def dissimilarities(layers: Layers) -> Float64[Tensor, "layers pairs"]:
    """Return the ranks of 1 − r between the features of every two images, standardised, for every layer.

    Their inner product is Spearman's correlation of representational dissimilarities (Kriegeskorte et al.
    2008, doi 10.3389/neuro.06.004.2008). NaN where an image has constant features.
    """
    found = []
    for layer in layers:
        r = torch.corrcoef(layer.flatten(1).double())
        pairs = (1 - r)[tuple(torch.triu_indices(len(r), len(r), 1))]
        ranks = pairs.argsort().argsort().double()
        ranks = ranks - ranks.mean()
        found.append(ranks / ranks.norm() if pairs.isfinite().all() else ranks * torch.nan)
    return torch.stack(found)


def neighbours(layers: Layers, k: int = 10) -> Bool[Tensor, "layers images images"]:
    """Return the k nearest neighbours of every image by the cosine of features, for every layer.

    Raises:
        ValueError: k is not below the number of images.
    """
    found = []
    for layer in layers:
        unit = torch.nn.functional.normalize(layer.flatten(1).double(), dim=1)
        cosines = (unit @ unit.T).fill_diagonal_(-torch.inf)
        if not 0 < k < len(cosines):
            raise ValueError(f"{k} neighbours need more than {k} images, found {len(cosines)}")
        nearest = torch.zeros_like(cosines, dtype=torch.bool)
        found.append(nearest.scatter_(1, cosines.topk(k).indices, True))
    return torch.stack(found)


def mutual_neighbours(
    xs: Bool[Tensor, "xs images images"], ys: Bool[Tensor, "ys images images"]
) -> Grid:
    """Return the share of nearest neighbours that two layers share; k / (images − 1) by chance.

    Huh et al. (2024, arXiv 2405.07987).
    """
    one, other = (each.flatten(1).double() for each in (xs, ys))
    return one @ other.T / xs[0].sum()


def leave_one_out(
    k: Float64[Tensor, "images images"],
    l: Float64[Tensor, "images images"],  # noqa: E741
    debiased: bool,
) -> Float64[Tensor, " images"]:
    """Return CKA without each image in turn, from Grams of features that may have any mean.

    Biased CKA lets one image far from all others decide: it should hardly change without any one of them.
    """
    xy, xx, yy = (_hsic_without(a, b, debiased) for a, b in ((k, l), (k, k), (l, l)))
    return xy / (xx * yy).sqrt()


def _hsic_without(k: Tensor, l: Tensor, debiased: bool) -> Tensor:  # noqa: E741
    """Return HSIC without each image in turn, but for a factor that CKA does not have."""
    n = len(k) - 1
    if debiased:
        k, l = (gram.clone().fill_diagonal_(0) for gram in (k, l))  # noqa: E741
    product = k * l
    cells = product.sum() - 2 * product.sum(1) + product.diagonal()
    return hsic_of_sums(cells, _rows_without(k), _rows_without(l), n, debiased)


def _rows_without(gram: Tensor) -> Float64[Tensor, "images without"]:
    """Return the sums of rows without each image in turn, zero for the row of that image."""
    return (gram.sum(1)[:, None] - gram).fill_diagonal_(0)


def invariance(
    original: Float[Tensor, "images ..."], transformed: Float[Tensor, "images ..."]
) -> Float64[Tensor, ""]:
    """Return how much more alike an image and its transform are than unrelated ones: 1 invariant, 0 not at all.

    (s − u) / (1 − u), where s is the mean cosine of the features of x and t(x), less the mean features of the
    images, and u that of t(x) with other images. NaN where features are constant.
    """
    x, y = (each.flatten(1).double() for each in (original, transformed))
    mean = x.mean(0)
    x, y = (torch.nn.functional.normalize(each - mean, dim=1) for each in (x, y))
    cosines = x @ y.T
    same = cosines.diagonal().mean()
    unrelated = (cosines.sum() - cosines.trace()) / (len(x) * (len(x) - 1))
    return torch.where(x.norm() > 0, (same - unrelated) / (1 - unrelated), torch.nan)


def by_depth(count: int, others: int) -> Sequence[tuple[int, int]]:
    """Return every layer of the network with more of them, with that of the other at the same depth, from 0."""
    longest = max(count, others)
    return [
        (
            round(i * (count - 1) / max(1, longest - 1)),
            round(i * (others - 1) / max(1, longest - 1)),
        )
        for i in range(longest)
    ]
