"""What fine-tuning forgets, learns and moves between layers, from grids of shared invariances.

pt is the pretrained network, ft the fine-tuned one; a grid "ft given pt" holds
STIR(ft[i] | pt[j]) at [seed, j, i] (see `headstart.metrics.stir`). Self-STIR is measured: the paper
(arXiv 2307.06006) sets STIR(pt[i] | pt[i]) to 1, which counts the error of unfinished inversions as
forgetting.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from headstart.metrics.half_samples import half_sample_interval
from headstart.metrics.similarity import cka_grid
from headstart.metrics.stir import TargetGrams, stir_grid

Grid = Float64[Tensor, "*seeds references targets"]


def forgetting(pt_given_pt: Grid, ft_given_pt: Grid) -> Grid:
    """STIR(pt[i] | pt[j]) − STIR(ft[i] | pt[j]): invariances of pt that ft no longer has.

    Sections 3.2 and 3.3 of the paper, which plots i = j with the first term set to 1: for that form pass
    `torch.ones_like`.
    """
    return pt_given_pt - ft_given_pt


def learning(ft_given_ft: Grid, pt_given_ft: Grid) -> Grid:
    """STIR(ft[i] | ft[j]) − STIR(pt[i] | ft[j]): invariances of ft that pt did not have."""
    return ft_given_ft - pt_given_ft


def cka_divergence(
    pt_grams: Float64[Tensor, "layers images images"],
    ft_grams: Float64[Tensor, "layers images images"],
    debiased: bool = True,
) -> Float64[Tensor, "layers layers"]:
    """CKA(pt[i], pt[j]) − CKA(ft[i], pt[j]) at [i, j]; 1 − CKA(ft[i], pt[i]) where i = j."""
    return cka_grid(pt_grams, pt_grams, debiased) - cka_grid(ft_grams, pt_grams, debiased)


def flow(ft_given_pt: Grid) -> Grid:
    """Flow(i, j) = STIR(ft[j] | pt[i]) − STIR(ft[i] | pt[i]) at [i, j]; the paper, sections 3.2 and 3.3.

    The paper reads positive values as compression (j < i) or expansion (j > i). They are not zero
    for ft = pt, and they rise when late layers are merely replaced: see `excess_compression`.
    """
    return ft_given_pt - ft_given_pt.diagonal(dim1=-2, dim2=-1)[..., None]


@dataclass(frozen=True)
class ExcessCompression:
    """C(i, j) for j < i with an interval over images; NaN for j ≥ i, where it is not identifiable.

    A row i is the layer of pt that was inverted, a column j the earlier layer that was evaluated.
    """

    value: Float64[Tensor, "layers layers"]
    lower: Float64[Tensor, "layers layers"]
    upper: Float64[Tensor, "layers layers"]


def excess_compression(
    finetuned: TargetGrams,
    baseline: TargetGrams,
    generator: torch.Generator,
    resamples: int = 200,
    confidence: float = 0.95,
    debiased: bool = True,
) -> ExcessCompression:
    """C(i, j) = STIR(ft[j] | pt[i]) − STIR(pt[j] | pt[i]) for j < i, averaged over seeds.

    Positive: what pt ignores only from layer i on, ft ignores at the earlier layer j already, more
    than pt did. Zero for ft = pt. Expansion (j > i) is not identifiable: with exact inversions
    STIR(pt[j] | pt[i]) = 1 there, so nothing can exceed it.

    The interval comes from half-samples of the images (`half_sample_interval`).

    Args:
        finetuned: Grams of ft on X and on the X′ of pt.
        baseline: those of pt on the same images; or of a control whose late layers were replaced,
            which asks whether ft exceeds the control, since STIR(pt[j] | pt[i]) cancels.
        generator: draws the half-samples.
        resamples: number of half-samples.
        confidence: coverage of the interval.
        debiased: form of CKA.
    """

    def difference(images: Tensor) -> Tensor:
        pair = (stir_grid(grams.subset(images), debiased) for grams in (finetuned, baseline))
        return (next(pair) - next(pair)).mean(0)

    grams = finetuned.originals
    found = half_sample_interval(
        difference, grams.shape[-1], generator, resamples, confidence, grams.device
    )
    earlier = torch.ones_like(found[0], dtype=torch.bool).tril(-1)
    cells = (torch.where(earlier, x, torch.nan) for x in found)
    return ExcessCompression(*cells)
