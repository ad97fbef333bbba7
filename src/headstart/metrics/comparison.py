"""Every grid between a pretrained network and a fine-tuned one, from their Gram matrices.

Grids are indexed [reference, evaluated]: the layer that was inverted (or stands for it), then the
layer that is asked. pt and ft as in `headstart.metrics.invariance`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from headstart.metrics.invariance import cka_divergence, flow, forgetting, learning
from headstart.metrics.similarity import cka_grid
from headstart.metrics.stir import TargetGrams, stir_grid

Grid = Float64[Tensor, "references evaluated"]


@dataclass(frozen=True)
class Comparison:
    """Grams of both networks on X, on X′ of pt, and, where ft was inverted, on X′ of ft.

    The first word of a field is the network that is evaluated, the last one that was inverted.
    """

    pt_given_pt: TargetGrams
    ft_given_pt: TargetGrams
    pt_given_ft: TargetGrams | None = None
    ft_given_ft: TargetGrams | None = None

    @property
    def images(self) -> int:
        """Return the number of images per seed."""
        return self.pt_given_pt.originals.shape[-1]

    def subset(self, images: Tensor) -> "Comparison":
        """The same for some of the images, given by their numbers."""
        parts = (self.pt_given_pt, self.ft_given_pt, self.pt_given_ft, self.ft_given_ft)
        return Comparison(*(part and part.subset(images) for part in parts))  # type: ignore[arg-type]


def grids(pair: Comparison, debiased: bool = True) -> dict[str, Grid]:
    """Return all grids by name, averaged over seeds; those of X′ of ft only where it was inverted.

    `stir_a_given_b`; `forgetting`, `learning` with the measured self-STIR, `forgetting_paper`,
    `learning_paper` with 1 in its place; `flow`; `cka_a_b` on X and `cka_divergence`.
    """
    pt_pt = stir_grid(pair.pt_given_pt, debiased).mean(0)
    ft_pt = stir_grid(pair.ft_given_pt, debiased).mean(0)
    found = {
        "stir_pt_given_pt": pt_pt,
        "stir_ft_given_pt": ft_pt,
        "forgetting": forgetting(pt_pt, ft_pt),
        "forgetting_paper": forgetting(torch.ones_like(pt_pt), ft_pt),
        "flow": flow(ft_pt),
    }
    if pair.pt_given_ft is not None and pair.ft_given_ft is not None:
        ft_ft = stir_grid(pair.ft_given_ft, debiased).mean(0)
        pt_ft = stir_grid(pair.pt_given_ft, debiased).mean(0)
        found |= {
            "stir_ft_given_ft": ft_ft,
            "stir_pt_given_ft": pt_ft,
            "learning": learning(ft_ft, pt_ft),
            "learning_paper": learning(torch.ones_like(ft_ft), pt_ft),
        }
    return found | _similarities(pair, debiased)


def _similarities(pair: Comparison, debiased: bool) -> dict[str, Grid]:
    """CKA on X, mean over seeds; "cka_a_b" has b as the reference."""
    seeds = zip(pair.pt_given_pt.originals, pair.ft_given_pt.originals, strict=True)
    rows = [
        (cka_grid(pt, pt, debiased), cka_grid(pt, ft, debiased), cka_divergence(pt, ft, debiased).T)
        for pt, ft in seeds
    ]
    pt_pt, ft_pt, divergence = (torch.stack(column).mean(0) for column in zip(*rows, strict=True))
    return {"cka_pt_pt": pt_pt, "cka_ft_pt": ft_pt, "cka_divergence": divergence}
