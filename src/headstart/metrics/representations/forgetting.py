"""What fine-tuning forgets, learns and moves between layers, from grids of shared invariances.

pt is the pretrained network, ft the fine-tuned one; a grid "ft given pt" holds
STIR(ft[i] | pt[j]) at [seed, j, i] (see `headstart.metrics.representations.stir`). Self-STIR is measured: the paper
(arXiv 2307.06006) sets STIR(pt[i] | pt[i]) to 1, which counts the error of unfinished inversions as
forgetting.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

Grid = Float64[Tensor, "*seeds references targets"]


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
