"""Every grid between a pretrained network and a fine-tuned one, from their Gram matrices.

Grids are indexed [reference, evaluated]: the layer that was inverted (or stands for it), then the
layer that is evaluated. pt and ft as in `headstart.metrics.representations.stir`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from headstart.metrics.representations.half_samples import (
    FORMS,
    Members,
    SampledGrams,
    cka_draws,
    ends,
)
from headstart.metrics.representations.similarity import cka_grid, unit_grams
from headstart.metrics.representations.stir import (
    TargetGrams,
    cka_divergence,
    flow,
    forgetting,
    learning,
    stir_reason,
    stir_rows,
)

Grid = Float64[Tensor, "references evaluated"]
Draws = Float64[Tensor, "draws references evaluated"]


@dataclass(frozen=True)
class Stir:
    """STIR of one network given the inverted layers of one, and what is needed of Grams that are gone.

    Attributes:
        originals: Grams on X.
        own: those of the layer that was inverted, on its X′.
        values: the grid of each form (debiased or not), averaged over seeds.
        draws: of each form, on half-samples of the images; empty where none were wanted.
        reasons: why a cell is NaN, by form, reference and evaluated layer.
        sampled: what half-samples make of the Grams on X.
    """

    originals: Float64[Tensor, "seeds targets images images"]
    own: Float64[Tensor, "seeds references images images"]
    values: dict[bool, Grid]
    draws: dict[bool, Draws]
    reasons: dict[tuple[bool, int, int], str]
    sampled: SampledGrams | None


def measured(parts: Iterable[TargetGrams], members: Members | None = None) -> Stir:
    """Measure STIR part by part, each of some reference layers, and keep no more than one part's Grams.

    Args:
        parts: in the order of the references, all with the same Grams on X.
        members: half-samples of the images (`half_samples`); None: no intervals.
    """
    rows: dict[bool, list[Tensor]] = {form: [] for form in FORMS}
    draws: dict[bool, list[Tensor]] = {form: [] for form in FORMS}
    own: list[Tensor] = []
    reasons: dict[tuple[bool, int, int], str] = {}
    units: dict[bool, Tensor] = {}
    sampled = None
    originals = torch.empty(0)
    for part in parts:
        originals = part.originals
        if not units:
            units = {form: unit_grams(part.originals, form) for form in FORMS}
            sampled = None if members is None else SampledGrams(part.originals, members)
        first = len(own)
        for form in FORMS:
            rows[form].append(stir_rows(units[form], part.inverted, form).mean(0))
            for j, i in rows[form][-1].isnan().nonzero().tolist():
                reasons[form, first + j, i] = stir_reason(part, j, i, form) or ""
        for number, inverted in enumerate(part.inverted.unbind(1), first):
            own.append(inverted[:, number].clone())
            if sampled is not None and members is not None:
                found = SampledGrams(inverted, members).cka(sampled).mean(1)
                for form, each in zip(FORMS, found, strict=True):
                    draws[form].append(each.T)
        del part, inverted  # before the next part is made
    return Stir(
        originals,
        torch.stack(own, 1),
        {form: torch.cat(each) for form, each in rows.items()},
        {form: torch.stack(each, 1) for form, each in draws.items() if each},
        reasons,
        sampled,
    )


@dataclass(frozen=True)
class Comparison:
    """STIR of both networks given pt, and, where ft was inverted, given ft.

    The first word of a field is the network that is evaluated, the last one that was inverted.
    """

    pt_given_pt: Stir
    ft_given_pt: Stir
    pt_given_ft: Stir | None = None
    ft_given_ft: Stir | None = None

    @property
    def images(self) -> int:
        """Return the number of images per seed."""
        return self.pt_given_pt.originals.shape[-1]

    @property
    def networks(self) -> dict[str, Stir]:
        """Return what was measured, named by who is evaluated and who was inverted."""
        found = {"stir_pt_given_pt": self.pt_given_pt, "stir_ft_given_pt": self.ft_given_pt}
        if self.pt_given_ft is not None and self.ft_given_ft is not None:
            found |= {"stir_ft_given_ft": self.ft_given_ft, "stir_pt_given_ft": self.pt_given_ft}
        return found

    @cached_property
    def similarities(self) -> dict[bool, dict[str, Grid]]:
        """Return STIR of every network, and CKA of pt and ft on X, averaged over seeds, by form."""
        pt, ft = self.pt_given_pt.originals, self.ft_given_pt.originals
        return {
            debiased: {
                **{name: each.values[debiased] for name, each in self.networks.items()},
                "cka_pt_pt": cka_grid(pt, pt, debiased).mean(0),
                "cka_ft_pt": cka_grid(pt, ft, debiased).mean(0),
            }
            for debiased in FORMS
        }

    def draws(self) -> dict[bool, dict[str, Draws]]:
        """Return the same on half-samples of the images; nothing where none were drawn."""
        pt, ft = self.pt_given_pt, self.ft_given_pt
        if pt.sampled is None or ft.sampled is None:
            return {form: {} for form in FORMS}
        cka = {"cka_pt_pt": pt.sampled, "cka_ft_pt": ft.sampled}
        # Draws come last where Grams are multiplied, and first where intervals are made.
        grids = {
            name: cka_draws(pt.originals, each).mean(1).movedim(-1, 1) for name, each in cka.items()
        }
        return {
            form: {
                **{name: each.draws[form] for name, each in self.networks.items()},
                **{name: each[number] for name, each in grids.items()},
            }
            for number, form in enumerate(FORMS)
        }


def grids(pair: Comparison, debiased: bool = True) -> dict[str, Grid]:
    """Return all grids by name, averaged over seeds; those of X′ of ft only where it was inverted."""
    return derived(pair.similarities[debiased])


def derived(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add what follows from STIR and CKA; all is linear in them. Leading dimensions are kept.

    `forgetting`, `learning` with the measured self-STIR, `forgetting_paper`, `learning_paper` with
    1 in its place; `flow`; `cka_divergence`.
    """
    pt, ft = found["stir_pt_given_pt"], found["stir_ft_given_pt"]
    result = dict(found) | {
        "forgetting": forgetting(pt, ft),
        "forgetting_paper": forgetting(torch.ones_like(pt), ft),
        "flow": flow(ft),
        "cka_divergence": cka_divergence(found["cka_pt_pt"], found["cka_ft_pt"]),
    }
    if "stir_ft_given_ft" in found:
        own, other = found["stir_ft_given_ft"], found["stir_pt_given_ft"]
        result |= {
            "learning": learning(own, other),
            "learning_paper": learning(torch.ones_like(own), other),
        }
    return result


class Cells(NamedTuple):
    """A grid, and the ends of its interval over images; NaN where there is none."""

    value: Grid
    low: Grid
    high: Grid


@dataclass(frozen=True)
class Sampled:
    """Similarities by name, on all images and on half-samples of them (empty: too few images)."""

    value: Mapping[str, Grid]
    draws: Mapping[str, Draws]
    confidence: float

    def interval(self, of: Callable[[Mapping[str, Tensor]], Tensor]) -> Cells:
        """Return value and ends of the interval of anything that is made of similarities.

        No interval for fewer than 8 images, nor where a half-sample is undefined.
        """
        value = of(self.value)
        if not self.draws:
            nothing = torch.full_like(value, torch.nan)
            return Cells(value, nothing, nothing)
        return Cells(value, *ends(value, of(self.draws), self.confidence))


def sampled(
    pair: Comparison,
    others: Mapping[str, tuple[dict[bool, Grid], dict[bool, Draws]]],
    confidence: float = 0.95,
) -> dict[bool, Sampled]:
    """Return the similarities of a pair, and STIR of other networks given pt, for each form.

    All on the same half-samples of the images, so that intervals of differences are paired. `others` have
    the values and draws of a `Stir`.
    """
    values, draws = pair.similarities, pair.draws()
    return {
        form: Sampled(
            values[form] | {name: value[form] for name, (value, _) in others.items()},
            draws[form] and draws[form] | {name: draw[form] for name, (_, draw) in others.items()},
            confidence,
        )
        for form in FORMS
    }
