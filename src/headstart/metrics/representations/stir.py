"""STIR: how much of what a reference network ignores a target network ignores too.

STIR(m2 | m1) = CKA(m2(X), m2(X′)) with X′ such that m1(X′) ≈ m1(X) (arXiv 2307.06006, eq. 1, after
Nanda et al. 2022, arXiv 2206.11939). It has a direction: the reference m1 was inverted, the target
m2 is evaluated. X′ depends on the reference alone, so each (network, layer, seed) is inverted once,
2 L inversions for all grids between two networks of L layers, and every target costs forward passes
only. From these only Gram matrices are kept, and of a whole study those of one reference layer at a time
(`headstart.metrics.representations.comparison.measured`).

Grids are indexed [seed, reference layer, target layer]; their mean over seeds is the paper's
average over resamples. All functions raise ValueError for fewer than 4 images.

pt is the pretrained network, ft the fine-tuned one; a grid "ft given pt" holds STIR(ft[i] | pt[j])
at [seed, j, i]. What fine-tuning forgets, learns and moves between layers are differences of such
grids. Self-STIR is measured: the paper sets STIR(pt[i] | pt[i]) to 1, which counts the error of
unfinished inversions as forgetting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from headstart.metrics.representations.similarity import (
    MINIMUM_IMAGES,
    linear_gram,
    undefined_reason,
    unit_grams,
)

EveryLayer = Callable[[Tensor], Sequence[Tensor]]
Grid = Float64[Tensor, "*seeds references targets"]


@dataclass(frozen=True)
class TargetGrams:
    """Gram matrices of all layers of one target network.

    Attributes:
        originals: of X, "seeds targets images images".
        inverted: of X′, one for each reference layer j that was inverted, or some of them.
    """

    originals: Float64[Tensor, "seeds targets images images"]
    inverted: Float64[Tensor, "seeds references targets images images"]

    def subset(self, images: Tensor) -> "TargetGrams":
        """Return the same for some of the images, given by their numbers."""
        parts = (grams[..., images, :][..., images] for grams in (self.originals, self.inverted))
        return TargetGrams(*parts)


def layer_grams(
    every_layer: EveryLayer,
    images: Float[Tensor, "images ..."],
    like: Tensor,
    batch_size: int | None = None,
) -> Float64[Tensor, "targets images images"]:
    """Return the Grams of all layers on some images.

    Args:
        every_layer: from images to the outputs of all layers.
        images: of any precision and on any device.
        like: of the precision and on the device that a batch of them is moved to.
        batch_size: images per forward pass; the result does not depend on it.
    """
    with torch.no_grad():
        batches = [every_layer(part.to(like)) for part in images.split(batch_size or len(images))]
        # Only one layer's features are there twice.
        return torch.stack([linear_gram(torch.cat(each)) for each in zip(*batches, strict=True)])


def target_grams(
    every_layer: EveryLayer,
    originals: Float[Tensor, "seeds images ..."],
    inverted: Float[Tensor, "seeds references images ..."],
    batch_size: int | None = None,
) -> TargetGrams:
    """Run a target network over X and all X′_j and keep the Grams of its layers."""
    of_x = torch.stack([layer_grams(every_layer, x, x, batch_size) for x in originals])
    of_inverted = [
        torch.stack([layer_grams(every_layer, x, originals, batch_size) for x in by_layer])
        for by_layer in inverted
    ]
    return TargetGrams(of_x, torch.stack(of_inverted))


def stir_grid(
    target: TargetGrams, debiased: bool = True
) -> Float64[Tensor, "seeds references targets"]:
    """Return STIR(target[i] | reference[j]) for all layers; NaN where CKA is undefined (`stir_reason`)."""
    return stir_rows(unit_grams(target.originals, debiased), target.inverted, debiased)


def stir_rows(
    originals: Float64[Tensor, "seeds targets entries"],
    inverted: Float64[Tensor, "seeds references targets images images"],
    debiased: bool,
) -> Float64[Tensor, "seeds references targets"]:
    """Return the same from `unit_grams` of X, for some of the references."""
    # One reference layer at a time, for the centred copies of all would take as much again, twice.
    by_layer = inverted.unbind(1)
    return torch.stack([(unit_grams(x, debiased) * originals).sum(-1) for x in by_layer], 1)


def stir_reason(
    target: TargetGrams, reference_layer: int, target_layer: int, debiased: bool = True
) -> str | None:
    """Return why a cell of the STIR grid is NaN for some seed, in words; None where it is defined."""
    for seed in range(len(target.originals)):
        of_x = undefined_reason(target.originals[seed, target_layer], debiased)
        of_inverted = target.inverted[seed, reference_layer, target_layer]
        reason = undefined_reason(of_inverted, debiased)
        if of_x or reason:
            return f"original images: {of_x}" if of_x else f"inverted images: {reason}"
    return None


def data_processing_violations(
    self_grid: Grid, tolerance: float = 0.05
) -> Bool[Tensor, "*seeds references targets"]:
    """Return cells i ≥ j where STIR(m[i] | m[j]) < 1 − tolerance, which exact inversions rule out.

    A later layer sees only what an earlier one passes on. A violation marks an unfinished
    inversion and makes that reference layer's results doubtful; it is a flag, not an error.
    """
    return ((self_grid < 1 - tolerance) | self_grid.isnan()).triu()


def forgetting(pt_given_pt: Grid, ft_given_pt: Grid) -> Grid:
    """Return STIR(pt[i] | pt[j]) − STIR(ft[i] | pt[j]): invariances of pt that ft no longer has.

    Sections 3.2 and 3.3 of the paper, which plots i = j with the first term set to 1: for that form pass
    `torch.ones_like`.
    """
    return pt_given_pt - ft_given_pt


def learning(ft_given_ft: Grid, pt_given_ft: Grid) -> Grid:
    """Return STIR(ft[i] | ft[j]) − STIR(pt[i] | ft[j]): invariances of ft that pt did not have."""
    return ft_given_ft - pt_given_ft


def cka_divergence(pt_given_pt: Grid, ft_given_pt: Grid) -> Grid:
    """Return CKA(pt[i], pt[j]) − CKA(ft[i], pt[j]), from grids of CKA on the same images (`cka_grid`).

    1 − CKA(ft[i], pt[i]) where i = j.
    """
    return pt_given_pt - ft_given_pt


def flow(ft_given_pt: Grid) -> Grid:
    """Return Flow(i, j) = STIR(ft[j] | pt[i]) − STIR(ft[i] | pt[i]) at [i, j]; the paper, sections 3.2 and 3.3.

    The paper reads positive values as compression (j < i) or expansion (j > i). They are not zero
    for ft = pt, and they rise when late layers are merely replaced: see `excess_compression`.
    """
    return ft_given_pt - ft_given_pt.diagonal(dim1=-2, dim2=-1)[..., None]


def excess_compression(ft_given_pt: Grid, baseline_given_pt: Grid) -> Grid:
    """Return C(i, j) = STIR(ft[j] | pt[i]) − STIR(pt[j] | pt[i]) at [i, j] for j < i; NaN for j ≥ i.

    Positive: what pt ignores only from layer i on, ft ignores at the earlier layer j already, more
    than pt did. Zero for ft = pt. Expansion (j > i) is not identifiable: with exact inversions
    STIR(pt[j] | pt[i]) = 1 there, so nothing can exceed it. Linear, so that an interval over images
    comes from the same difference on half-samples (`headstart.metrics.representations.comparison.sampled`).

    Args:
        ft_given_pt: ft on the X′ of pt; the row i is the layer of pt that was inverted, the column j
            the layer that was evaluated.
        baseline_given_pt: pt on the same X′; or a control whose late layers were replaced, which asks
            whether ft exceeds the control, since STIR(pt[j] | pt[i]) cancels.
    """
    difference = ft_given_pt - baseline_given_pt
    earlier = torch.ones_like(difference, dtype=torch.bool).tril(-1)
    return torch.where(earlier, difference, torch.nan)


@dataclass(frozen=True)
class ResidualGroup:
    """STIR among images whose inversion residual is at most `residual`, above the last group's."""

    residual: float
    images: int
    value: float
    reason: str | None


def residual_groups(
    originals: Float64[Tensor, "images images"],
    inverted: Float64[Tensor, "images images"],
    residuals: Float[Tensor, " images"],
    groups: int = 4,
    debiased: bool = True,
) -> list[ResidualGroup]:
    """Return STIR of one layer and seed within quantiles of the residual, best inverted images first.

    If STIR falls from group to group, it measures the inversions rather than the networks. Groups
    of fewer than 4 images are NaN with that reason.

    Args:
        originals: Grams of X.
        inverted: Grams of X′.
        residuals: of the images.
        groups: number of quantiles.
        debiased: form of CKA.
    """
    result = []
    for part in residuals.argsort().tensor_split(groups):
        bound = float(residuals[part].max()) if len(part) else float("nan")
        if len(part) < MINIMUM_IMAGES:
            result.append(ResidualGroup(bound, len(part), float("nan"), "fewer than 4 images"))
            continue
        whole = TargetGrams(originals[None, None], inverted[None, None, None])
        here = whole.subset(part.to(originals.device))
        value = float(stir_grid(here, debiased)[0, 0, 0])
        result.append(ResidualGroup(bound, len(part), value, stir_reason(here, 0, 0, debiased)))
    return result
