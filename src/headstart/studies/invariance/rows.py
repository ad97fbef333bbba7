"""Comparisons of two networks as rows of a tidy table: grids, intervals, convergence and reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.metrics.representations.comparison import (
    Cells,
    Comparison,
    Sampled,
    Stir,
    derived,
    grids,
    sampled,
)
from headstart.metrics.representations.half_samples import FEWEST
from headstart.metrics.representations.similarity import undefined_reason
from headstart.metrics.representations.stir import (
    data_processing_violations,
    excess_compression,
    forgetting,
)
from headstart.studies.invariance.columns import EMBEDDING, Row, null
from headstart.studies.invariance.params import Invariance
from headstart.studies.invariance.subject import Convergence

FORMS = {"debiased": True, "biased": False}
NOT_IDENTIFIABLE = (
    "not identifiable: where all is read, the pretrained network itself reaches 1 there with exact "
    "inversions; where less is, no control is known"
)
Converged = Mapping[str, Mapping[int, Convergence]]


@dataclass(frozen=True)
class Rows:
    """The rows for one pair of networks; `layers` names those of the grids, counted from 1.

    `convergence` holds the convergence of every layer, of "pt" and, where it was inverted, of "ft".
    """

    pair: Comparison
    layers: Sequence[int]
    convergence: Converged
    options: Invariance

    def complete(self, controls: Iterable[tuple[str, int, Stir]]) -> Iterator[Row]:
        """Yield every cell of every grid with an interval over images, in both forms.

        With them come C(i, j), that of every control, and how far ft exceeds the strictest of each
        kind. `controls` are kinds, first replaced layers and STIR given pt; of each no Gram is kept.
        """
        replaced: dict[str, list[int]] = {}
        others = {}
        for kind, first, stir in controls:
            replaced.setdefault(kind, []).append(first)
            others[_control(kind, first)] = stir.values, stir.draws
        samples = sampled(self.pair, others, self.options.confidence)
        for form, debiased in FORMS.items():
            found = samples[debiased]
            for name in grids(self.pair, debiased):
                cells = self._cells(name, form, found.interval(_grid(name)))
                yield from (self._bounded(self._explained(row, debiased)) for row in cells)
            yield from self._compression(form, found, replaced)
            if EMBEDDING in replaced:
                yield from self._behind_embedding(form, found)

    def diagonal(self) -> Iterator[Row]:
        """Yield the cells i = j without intervals: what the dynamics are made of."""
        for form, debiased in FORMS.items():
            for name, grid in grids(self.pair, debiased).items():
                nothing = torch.full_like(grid, torch.nan)
                for row in self._cells(name, form, Cells(grid, nothing, nothing)):
                    if row["layer"] == row["reference_layer"]:
                        yield self._explained(row, debiased)

    def _compression(
        self, form: str, found: Sampled, controls: Mapping[str, Sequence[int]]
    ) -> Iterator[Row]:
        def less(one: str, other: str) -> Cells:
            return found.interval(lambda s: excess_compression(s[one], s[other]))

        ft, pt = "stir_ft_given_pt", "stir_pt_given_pt"
        yield from self._compressed("excess_compression", form, less(ft, pt))
        for kind, by_layer in controls.items():
            for first in by_layer:
                own = less(_control(kind, first), pt)
                for row in self._compressed("excess_compression", form, own, first):
                    yield {**row, "condition": null(kind)}
            over = {first: less(ft, _control(kind, first)) for first in by_layer}
            strictest, chosen = _strictest(over)
            yield from self._compressed(f"excess_over_{kind}", form, strictest, chosen)

    def _behind_embedding(self, form: str, found: Sampled) -> Iterator[Row]:
        """Yield what pt forgets, block by block, behind the embedding of the run."""
        control, pt = _control(EMBEDDING, 0), "stir_pt_given_pt"
        lost = found.interval(lambda s: forgetting(s[pt], s[control]))
        for row in self._cells("forgetting", form, lost):
            if row["layer"] == row["reference_layer"]:
                named = {"condition": null(EMBEDDING), "first_replaced": 0}
                yield self._bounded(self._explained({**row, **named}, FORMS[form]))

    def checks(self, everything: bool) -> Iterator[Row]:
        """Yield residuals, pass rates, and, where `everything` is read, cells that exact inversions rule out."""
        selves = {"pt": self.pair.pt_given_pt, "ft": self.pair.ft_given_ft}
        for network, layers in self.convergence.items():
            for layer, found in layers.items():
                place = {"layer": layer, "reference_layer": layer, "n": self.pair.images}
                values = {
                    "residual": found.residual,
                    "pass_rate": found.pass_rate,
                    "pass_rate_strict": found.strict_pass_rate,
                }
                for name, value in values.items():
                    reason = found.reason if name == "pass_rate" else None
                    row = {**place, "metric": f"{name}_{network}", "value": value}
                    yield {**row, "reason": reason or ""}
            if everything and (stir := selves[network]):
                yield from self._violations(network, stir)

    def _violations(self, network: str, stir: Stir) -> Iterator[Row]:
        broken = data_processing_violations(stir.values[True])
        for j, reference in enumerate(self.layers):
            for i, layer in enumerate(self.layers):
                if layer >= reference:
                    yield {
                        "metric": f"data_processing_{network}",
                        "form": "debiased",
                        "reference_layer": reference,
                        "layer": layer,
                        "value": float(broken[j, i]),
                        "n": self.pair.images,
                        "reason": "",
                    }

    def _compressed(
        self, name: str, form: str, found: Cells, first: int | Tensor | None = None
    ) -> Iterator[Row]:
        for row in self._cells(name, form, found):
            at = self.layers.index(row["reference_layer"]), self.layers.index(row["layer"])
            if at[1] >= at[0]:
                if not isinstance(first, int):  # once, not for every control
                    yield {**row, "reason": NOT_IDENTIFIABLE}
                continue
            chosen = int(first[at]) if isinstance(first, Tensor) else first
            explained = self._explained({**row, "first_replaced": chosen}, form == "debiased")
            yield self._bounded(explained)

    def _bounded(self, row: Row) -> Row:
        """Put a reason to an interval that is missing about a value that is not."""
        if row["value"] != row["value"] or row["low"] == row["low"]:
            return row
        images = self.pair.images
        reason = f"no interval: half-samples need {FEWEST} images or more, found {images}"
        if images >= FEWEST:
            reason = "no interval: a half-sample of the images is undefined"
        return {**row, "reason": "; ".join(each for each in (row["reason"], reason) if each)}

    def _cells(self, name: str, form: str, found: Cells) -> Iterator[Row]:
        for j, reference in enumerate(self.layers):
            for i, layer in enumerate(self.layers):
                yield {
                    "metric": name,
                    "form": form,
                    "reference_layer": reference,
                    "layer": layer,
                    "value": float(found.value[j, i]),
                    "low": float(found.low[j, i]),
                    "high": float(found.high[j, i]),
                    "n": self.pair.images,
                    "reason": "",
                }

    def _explained(self, row: Row, debiased: bool) -> Row:
        """Put a reason to a value that is NaN, or that rests on inversions that did not converge."""
        network = _rests_on(row["metric"])
        rests = not row["metric"].startswith("cka")
        failed = self.convergence[network][row["reference_layer"]].reason if rests else None
        if failed and self.options.convergence.unconverged == "nan":
            nothing = dict.fromkeys(("value", "low", "high"), float("nan"))
            return {**row, **nothing, "reason": failed}
        if row["value"] != row["value"]:
            return {**row, "reason": self._undefined(row, network, rests, debiased)}
        return {**row, "reason": failed or ""}

    def _undefined(self, row: Row, network: str, rests: bool, debiased: bool) -> str:
        """Return why a cell is NaN: the first of its terms that is undefined."""
        j, i = (self.layers.index(row[name]) for name in ("reference_layer", "layer"))
        pair = self.pair
        if not rests:
            for grams in (*pair.pt_given_pt.originals[:, [j, i]].flatten(0, 1),
                          *pair.ft_given_pt.originals[:, i]):  # fmt: skip
                if reason := undefined_reason(grams, debiased):
                    return reason
        terms = (pair.pt_given_pt, pair.ft_given_pt)
        if network == "ft":
            terms = (pair.pt_given_ft, pair.ft_given_ft)  # type: ignore[assignment]
        for place in dict.fromkeys((i, j)):
            for stir in terms:
                if reason := stir.reasons.get((debiased, j, place)):
                    return reason
        return "a half-sample of the images is undefined"


def _grid(name: str) -> Callable[[Mapping[str, Tensor]], Tensor]:
    return lambda similarities: derived(similarities)[name]


def _rests_on(metric: str) -> str:
    """Return which network's inversions a metric rests on; CKA rests on none."""
    return "ft" if metric.startswith("learning") or metric.endswith("given_ft") else "pt"


def _control(kind: str, first: int) -> str:
    return f"{kind} from {first}"


def _strictest(over: Mapping[int, Cells]) -> tuple[Cells, Tensor]:
    """Return, cell by cell, the comparison with the control that leaves least, and which it was.

    A control that replaces only blocks after the evaluated one is pt itself there, so what is left is
    never more than C, and is at most 0 for ft = pt.
    """
    firsts = list(over)
    values = torch.stack([over[first].value for first in firsts])
    least = values.nan_to_num(torch.inf).argmin(0, keepdim=True)
    ends = (torch.stack(parts).gather(0, least)[0] for parts in zip(*over.values(), strict=True))
    return Cells(*ends), torch.tensor(firsts, device=least.device)[least[0]]
