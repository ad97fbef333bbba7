"""Judges of K1 to K8 on networks for which they must say no, and on planted ones for which they must say yes.

Negative controls are made from the study's own networks: a judge that supports its claim where nothing
but a seed or noise differs is worth nothing. Positive ones are planted, with an effect of a stated size.
Networks and images of each control are drawn with replacement, and every draw is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.metrics.interactions.resampling import Estimate, Resampling
from headstart.metrics.interactions.shares import Share
from headstart.statistics.claim_results import ClaimResult
from headstart.statistics.control_results import ControlResult, Kind
from headstart.studies.knowledge.claims import ON_ONE, holds_everywhere
from headstart.studies.knowledge.compare import Collected, collect, measures
from headstart.studies.knowledge.gains import correlated, ratio_explains_accuracy
from headstart.studies.knowledge.learning_dynamics import Path, gaps, path_of, scalars
from headstart.studies.knowledge.networks import PATHS, Networks, Place, Role, opened, seeded
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.planted import SIZES, planted, planted_sparse
from headstart.studies.knowledge.shares import CEILINGS, conditions, group_of, variants
from headstart.studies.knowledge.sparsity import ROLES, explained, few, of_a_tenth, scores_permuted
from headstart.studies.knowledge.tables import Comparison, Measured, Number, main_of

BOOTSTRAP = 200
"""Draws of the interval in every resample."""
OF_SHARES = ("little_survives", "complex_is_discarded", "complex_is_new", "scratch_finds_little")
DIRECT, ALL, FEW = "finetuning_is_direct", "holds_everywhere", "few_and_matching"
JUDGES: Mapping[str, Callable[[Any], ClaimResult]] = {
    **{function.__name__: function for function in ON_ONE},
    ALL: lambda drawn: holds_everywhere([drawn, drawn]),
}
NEEDED = ("preserved_of_pretrained", "discarded_of_pretrained", "new_of_finetuned", "exclusivity")
STAND_INS = ("null_permuted", *CEILINGS)
"""Nulls and ceilings that the judges read."""
NOISE = 0.01
"""Of the standard deviation of v over masks."""
POINTS = 24
"""Source networks that K6 is planted in."""


class Control(NamedTuple):
    """Networks, and the judges that they are a control of."""

    name: str
    kind: Kind
    judges: tuple[str, ...]
    networks: Networks


def controls(job: Job, context: JobContext) -> Iterator[ControlResult]:
    """Yield what every judge says of the controls of each comparison, and K6 of correlated numbers."""
    values, made = (
        dict(zip(job.inputs[step], context.inputs[step], strict=True))
        for step in ("values", "knowledge")
    )
    resamples = job.params["resamples"]
    for compared in job.inputs["knowledge"]:
        names = (compared.wildcards[name] for name in Comparison._fields)
        options = Analysis.model_validate(compared.params["analysis"])
        inputs = [values[each] for each in compared.inputs["values"]]
        networks = opened(compared.params["roles"], inputs, options, made[compared])
        yield from of_comparison(Comparison(*names).title, networks, options, resamples)
    yield from of_gains(resamples)


def of_comparison(
    title: str, networks: Networks, options: Analysis, resamples: int
) -> Iterator[ControlResult]:
    """Yield what the judges say of the controls of one comparison, over resampled networks and images."""
    init_epoch = main_of([str(epoch) for epoch in networks.roles["init_epochs"]])
    for control in (*negatives(networks, init_epoch), *positives(networks)):
        data = Data.of(control, options, init_epoch)
        generator = seeded("controls", options.seed, title, control.name)
        drawn = [data.drawn(title, options, generator) for _ in range(resamples)]
        for judge in control.judges:
            statuses = [JUDGES[judge](each).status for each in drawn]
            yield ControlResult(judge, control.name, control.kind, statuses, comparison=title)


def of_gains(resamples: int) -> Iterator[ControlResult]:
    """Yield what the judge of K6 says where exclusivity and gain in accuracy correlate, or do not."""
    judge = ratio_explains_accuracy.__name__
    kinds: tuple[tuple[float, Kind], ...] = ((0.0, "negative"), (-0.8, "planted"))
    for rho, kind in kinds:
        statuses = [correlated(_points(rho, seed)).status for seed in range(resamples)]
        name = f"ratio and gain correlated by {rho:g}, {POINTS} networks"
        yield ControlResult(judge, name, kind, statuses)


def negatives(networks: Networks, init_epoch: str) -> Iterator[Control]:
    """Yield controls from the study's own networks, on which no claim may be supported."""

    def role(role: Role, first_epoch: str | None = None) -> Callable[[Place], Tensor | None]:
        return lambda place: networks.values(
            place._replace(role=role, init_epoch=first_epoch or place.init_epoch)
        )

    def other(role: Role, first_epoch: str) -> Callable[[Place], Tensor | None]:
        return lambda place: networks.values(
            Place(role, networks.unrelated(place.seed), first_epoch, place.epoch)
        )

    def changed(role: Role, change: Callable[[Tensor, torch.Generator], Tensor]) -> Any:
        def values(place: Place) -> Tensor | None:
            table = networks.values(place._replace(role=role))
            generator = seeded("controls", *map(str, place))
            return None if table is None else change(table, generator)

        return values

    def noisy(table: Tensor, generator: torch.Generator) -> Tensor:
        return table + networks.subsets.noise(table, NOISE, generator)

    def shuffled(table: Tensor, generator: torch.Generator) -> Tensor:
        return table[torch.randperm(len(table), generator=generator)]

    if networks.entry(Place("second", networks.seeds[0], init_epoch)):
        again = networks.replacing(probe=role("second"))
        yield Control("second run as pretrained", "negative", (*OF_SHARES[:3], ALL), again)
        tuned = networks.replacing(scratch=role("second", init_epoch))
        yield Control("second run as scratch", "negative", OF_SHARES[3:], tuned)
    noise = networks.replacing(probe=changed("finetuned", noisy))
    yield Control("fine-tuned plus noise as pretrained", "negative", OF_SHARES[:3], noise)
    if len(networks.seeds) > 1:
        source = networks.replacing(scratch=other("finetuned", init_epoch))
        yield Control("other source network as scratch", "negative", OF_SHARES[3:], source)
        twice = {"finetuned": other("scratch", "0"), "second": other("second_scratch", "0")}
        yield Control("scratch against scratch", "negative", (DIRECT,), networks.replacing(**twice))
    roles: tuple[Role, ...] = ("probe", "second", "scratch", "second_scratch")
    anywhere = networks.replacing(**{name: changed(name, shuffled) for name in roles})
    yield Control("shuffled images", "negative", (*OF_SHARES, DIRECT), anywhere)
    if networks.masks is None:
        permuted = networks.replacing(**{name: changed(name, scores_permuted) for name in ROLES})
        yield Control("scores permuted over masks", "negative", (FEW,), permuted)


def positives(networks: Networks) -> Iterator[Control]:
    """Yield planted networks of the study's numbers of networks, images and players."""
    yield Control(SIZES, "planted", (*OF_SHARES, DIRECT, ALL), planted(networks))
    if networks.masks is None:
        sparse = planted_sparse(networks)
        yield Control("5 % of the AND terms, 1 % noise", "planted", (FEW,), sparse)


@dataclass(frozen=True)
class Drawn(Measured):
    """Estimates of one draw of networks and images, as claims read them."""

    comparison: str
    confidence: float
    made: Mapping[tuple[str, str, str, str], Estimate]
    """(role, variant, metric, condition) -> estimate; the variant that leads is empty."""

    @property
    def title(self) -> str:
        """The comparison for people."""
        return self.comparison

    def found(self, metric: str, condition: str, role: str, variant: str) -> Number | None:
        """Return the estimate with its interval."""
        estimate = self.made.get((role, variant, metric, condition))
        if estimate is None:
            return None
        whole = estimate.at([0]).pooled()
        numbers = Number(float(whole.points), *whole.interval(self.confidence)[:, 0].tolist())
        return None if math.isnan(numbers.value) else numbers


@dataclass(frozen=True)
class Data:
    """What a control's judges read of every network and image, before these are drawn."""

    shares: Collected = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)
    terms: Mapping[tuple[str, str], tuple[Share, Share]] = field(default_factory=dict)
    """(role, basis) -> what k terms explain, of the scores and of scores permuted over masks."""
    size: tuple[int, int] = (0, 0)
    """Networks and images."""

    @classmethod
    def of(cls, control: Control, options: Analysis, init_epoch: str) -> Data:
        """Compute what the control's judges need."""
        networks, change = control.networks, variants(control.networks.subsets)[options.headline]
        size = len(networks.seeds), len(networks.labels)
        found: dict[str, Any] = {"size": size}
        if set(OF_SHARES) & set(control.judges):
            groups = [group_of(networks, init_epoch, seed).map(change) for seed in networks.seeds]
            made = [
                conditions(g, options, seeded("control", options.seed), STAND_INS) for g in groups
            ]
            found["shares"] = {
                condition: {metric: share for metric, share in shares.items() if metric in NEEDED}
                for condition, shares in collect(made).items()
            }
        if {DIRECT, ALL} & set(control.judges):
            found["paths"] = {
                role: path_of(networks, options, role, init_epoch, change, ("second_end",))
                for role in PATHS
            }
        if FEW in control.judges:
            found["terms"] = _terms(networks, init_epoch, options)
        return cls(**found)

    def drawn(self, title: str, options: Analysis, generator: torch.Generator) -> Drawn:
        """Draw networks and images with replacement, and return the estimates with their intervals."""
        networks, images = (torch.randint(n, (n,), generator=generator) for n in self.size)

        def part(table: Tensor) -> Tensor:
            return table[networks][:, images]

        resampling = Resampling(self.size[1], BOOTSTRAP, generator, self.size[0])
        found = {
            condition: {metric: Share(*map(part, share)) for metric, share in shares.items()}
            for condition, shares in self.shares.items()
        }
        made: dict[tuple[str, str, str, str], Estimate] = {
            ("finetuned", "", *key): estimate
            for key, estimate in measures(found, resampling, options.room).items()
        }
        by_role = {}
        for role, path in self.paths.items():
            curves = {key: part(values) for key, values in path.curves.items()}
            straight = {key: (part(p), part(w)) for key, (p, w) in path.straight.items()}
            by_role[role] = scalars(Path(path.epochs, curves, straight), resampling)
        if by_role:
            by_role["finetuned-scratch"] = gaps(*(by_role[role] for role in PATHS))
        for role, scalar in by_role.items():
            made |= {(role, "", *key): estimate for key, estimate in scalar.items()}
        for (role, basis), both in self.terms.items():
            tenth = (resampling.ratio(*map(part, share)) for share in both)
            for key, estimate in of_a_tenth(*tenth).items():
                made[role, basis, *key] = estimate
        return Drawn(title, options.confidence, made)


def _terms(
    networks: Networks, init_epoch: str, options: Analysis
) -> dict[tuple[str, str], tuple[Share, Share]]:
    tenth = [few(2**networks.count - 1)]
    generator = seeded("control", options.seed)
    terms: dict[tuple[str, str], tuple[Share, Share]] = {}
    for role in ROLES:
        first_epoch = "0" if role == "scratch" else init_epoch
        values = [networks.scored(Place(role, seed, first_epoch)) for seed in networks.seeds]
        permuted = [scores_permuted(table, generator) for table in values]
        for basis in ("raw", "walsh"):
            both = explained(values, tenth, basis), explained(permuted, tenth, basis)
            terms[role, basis] = both
    return terms


def _points(rho: float, repeat: int) -> pd.DataFrame:
    """Return source networks whose exclusivity ratio and gain in accuracy correlate by ρ."""
    generator = np.random.default_rng(repeat)
    ratio, rest = generator.normal(size=(2, POINTS))
    gain = rho * ratio + np.sqrt(1 - rho**2) * rest
    names = {"source": "planted", "model": "planted", "seed": range(POINTS)}
    return pd.DataFrame({**names, "ratio": ratio, "gain": gain})
