"""Which states of which trajectories a section of `knowledge` compares, and what keeps it from doing so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from headstart.params.core import CoreParams, repeated
from headstart.params.recipe import Pretrain, Trajectory
from headstart.studies.knowledge.params import Arm, Knowledge

Trajectories = Mapping[str, Mapping[str, Trajectory]]
TargetEpoch = int | Literal["best", "last"]
Requested = Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
"""Field of the params -> what is requested, and what there is."""


class States(NamedTuple):
    """Target epochs to look at of the runs from some source epochs of one arm."""

    model: str
    arm: str
    source_epochs: tuple[int | str, ...]
    target_seeds: tuple[int, ...]
    epochs: tuple[TargetEpoch, ...]


class Comparison:
    """A section of `knowledge` with everything that it leaves to the arms filled in.

    `last` is the number of the last source epoch here, as it is in the names of jobs.
    """

    def __init__(
        self,
        model: str,
        options: Knowledge,
        trajectory: Trajectories,
        pretrain: Mapping[str, Pretrain],
    ) -> None:
        self.model, self.options = model, options
        self.arms, self.pretrain = trajectory, pretrain
        self.finetuned = trajectory[model][options.finetuned]
        self.targets = options.targets or self.finetuned.targets
        self.seeds = options.seeds or seeds_of(self.finetuned, pretrain[model])
        self.source_epochs = self._numbers(options.source_epochs or self.finetuned.source_epochs)
        self.followed = self._numbers(options.followed) or self.source_epochs
        self.target_epochs = options.target_epochs or self.finetuned.kept_epochs()
        self.target_seed = self.finetuned.target_seeds[0]

    def second(self) -> tuple[str, tuple[int, ...], tuple[int | str, ...]]:
        """Return arm, target seeds and source epochs of the runs that fine-tune once more."""
        if self.options.second is None:
            return self.options.finetuned, self.finetuned.target_seeds[1:], self.source_epochs
        arm = self.arms[self.model][self.options.second]
        there = self._numbers(arm.source_epochs)
        again = tuple(epoch for epoch in self.source_epochs if epoch in there)
        return self.options.second, arm.target_seeds, again

    def second_scratch(self) -> tuple[str, str, tuple[int, ...]]:
        """Return model, arm and target seeds of the runs that train from scratch once more."""
        model, arm = self.place("scratch")
        if self.options.second_scratch is None:
            return model, arm, self.arms[model][arm].target_seeds[1:]
        return (
            model,
            self.options.second_scratch,
            self.arms[model][self.options.second_scratch].target_seeds,
        )

    def place(self, role: Literal["scratch", "random_probe"]) -> tuple[str, str]:
        """Return model and arm of a role that may belong to another model."""
        arm: Arm = getattr(self.options, role)
        return arm.model or self.model, arm.arm

    def states(self) -> list[States]:
        """Return all states that the comparison reads, each arm of each model by its runs."""
        path: tuple[TargetEpoch, ...] = ("best", *self.target_epochs, "last")
        finetuned, probe = self.options.finetuned, self.options.probe
        again, target_seeds, repeated = self.second()
        rest = tuple(epoch for epoch in self.source_epochs if epoch not in self.followed)
        first = (self.target_seed,)
        found = [
            States(self.model, finetuned, self.followed, first, path),
            States(self.model, finetuned, rest, first, ("best",)),
            States(self.model, again, repeated, target_seeds, ("best", "last")),
            States(
                self.model, probe, self.source_epochs, self._first(self.model, probe), ("best",)
            ),
        ]
        roles: tuple[tuple[Literal["scratch", "random_probe"], tuple[TargetEpoch, ...]], ...] = (
            ("scratch", path),
            ("random_probe", ("best",)),
        )
        for role, epochs in roles:
            model, arm = self.place(role)
            found.append(States(model, arm, (0,), self._first(model, arm), epochs))
        model, arm, target_seeds = self.second_scratch()
        found.append(States(model, arm, (0,), target_seeds, ("last",)))
        return [states for states in found if states.source_epochs and states.target_seeds]

    def roles(self) -> dict[str, Any]:
        """Return which runs are what, with nothing left to look up: part of a job's params."""
        again, target_seeds, _ = self.second()
        probe, scratch, null = self.options.probe, self.place("scratch"), self.place("random_probe")
        *scratch_again, scratch_seeds = self.second_scratch()
        return {
            "finetuned": [self.model, self.options.finetuned, [self.target_seed]],
            "probe": [self.model, probe, [*self._first(self.model, probe)]],
            "scratch": [*scratch, [*self._first(*scratch)]],
            "null": [*null, [*self._first(*null)]],
            "second": [self.model, again, [*target_seeds]],
            "second_scratch": [*scratch_again, [*scratch_seeds]],
            "init_epochs": [str(epoch) for epoch in self.source_epochs],
            "followed": [str(epoch) for epoch in self.followed],
            "target_epochs": [*self.target_epochs],
        }

    def _first(self, model: str, arm: str) -> tuple[int, ...]:
        return self.arms[model][arm].target_seeds[:1]

    def _numbers(self, epochs: tuple[Any, ...]) -> tuple[int | str, ...]:
        last = self.pretrain[self.model].epochs
        return tuple(dict.fromkeys(last if epoch == "last" else epoch for epoch in epochs))


def seeds_of(arm: Trajectory, pretrain: Pretrain) -> tuple[int, ...]:
    """Return the source seeds that an arm runs."""
    return arm.seeds or pretrain.seeds


def find_problems(params: CoreParams) -> list[str]:
    """List what the section `knowledge` asks of trajectories that are not run, one line each."""
    sections: Mapping[str, Knowledge] = params.section("knowledge")
    trajectory, pretrain = params.trajectory, params.pretrain
    lists = ("targets", "seeds", "source_epochs", "followed", "target_epochs")
    problems = []
    for model, options in sections.items():
        problems += repeated(f"knowledge.{model}", options, lists)
    if problems:
        return problems
    for model, options in sections.items():
        path = f"knowledge.{model}"
        missing = _missing_arms(path, model, options, trajectory)
        if missing:
            problems += missing
            continue
        comparison = Comparison(model, options, trajectory, pretrain)
        problems += [
            *_outside(path, comparison),
            *_not_run(path, comparison),
            *_not_kept(path, comparison),
        ]
    return problems


def _missing_arms(path: str, model: str, options: Knowledge, trajectory: Trajectories) -> list[str]:
    """Return roles whose arm does not exist, or trains what it should not."""
    requested = {
        "finetuned": (model, options.finetuned, "finetune"),
        "second": (model, options.second, "finetune"),
        "probe": (model, options.probe, "probe"),
        "scratch": (options.scratch.model or model, options.scratch.arm, "finetune"),
        "second_scratch": (options.scratch.model or model, options.second_scratch, "finetune"),
        "random_probe": (options.random_probe.model or model, options.random_probe.arm, "probe"),
    }
    problems = []
    for role, (of, arm, mode) in requested.items():
        known = trajectory.get(of, {})
        if arm is None:
            continue
        if arm not in known:
            names = ", ".join(known) or "none"
            problems.append(f"{path}.{role}: trajectory.{of} has no arm {arm!r}; its arms: {names}")
        elif known[arm].mode != mode:
            problems.append(
                f"{path}.{role}: trajectory.{of}.{arm} has mode {known[arm].mode}, {mode} is needed"
            )
    return problems


def _outside(path: str, comparison: Comparison) -> list[str]:
    """Return what the section asks of the fine-tuned arm that this arm does not run."""
    arm, options = comparison.finetuned, comparison.options
    there = comparison._numbers(arm.source_epochs)
    runs = seeds_of(arm, comparison.pretrain[comparison.model])
    requested: Requested = {
        "source_epochs": (comparison.source_epochs, there),
        "followed": (comparison.followed, comparison.source_epochs),
        "targets": (comparison.targets, arm.targets),
        "seeds": (comparison.seeds, runs),
    }
    return [
        f"{path}.{field}: {unknown} are not run by the arm {options.finetuned!r}; there are {known}"
        for field, unknown, known in _unknown(requested)
    ]


def _unknown(requested: Requested) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Yield each field that requests what is not there: its name, what is missing, what there is."""
    for field, (wanted, known) in requested.items():
        if missing := [value for value in wanted if value not in known]:
            yield field, missing, list(known)


def _not_run(path: str, comparison: Comparison) -> list[str]:
    """Return source epochs, targets, seeds and sources that another arm of the comparison does not run."""
    problems = []
    for states in comparison.states():
        pretrain = comparison.pretrain
        arm, source = comparison.arms[states.model][states.arm], pretrain[states.model]
        there = [source.epochs if epoch == "last" else epoch for epoch in arm.source_epochs]
        requested: Requested = {
            "source_epochs": (states.source_epochs, there),
            "targets": (comparison.targets, arm.targets),
            "seeds": (comparison.seeds, seeds_of(arm, source)),
            "sources": (pretrain[comparison.model].sources, source.sources),
        }
        for field, missing, known in _unknown(requested):
            place = "pretrain" if field == "sources" else "trajectory"
            where = f"{place}.{states.model}" + ("" if field == "sources" else f".{states.arm}")
            problems.append(f"{path}: needs {missing} in {where}.{field}, which has {known}")
    return list(dict.fromkeys(problems))


def _not_kept(path: str, comparison: Comparison) -> list[str]:
    """Return target epochs that are not kept, and arms whose paths cannot be compared."""
    model, name = comparison.place("scratch")
    scratch, options = comparison.arms[model][name], comparison.options
    problems = []
    if scratch.epochs != comparison.finetuned.epochs:
        problems.append(
            f"{path}: the arms {options.finetuned!r} and {name!r} train {comparison.finetuned.epochs} "
            f"and {scratch.epochs} epochs; give both the same, to compare their paths"
        )
    if len(set(comparison.target_epochs)) < 2:
        problems.append(
            f"{path}.target_epochs: {list(comparison.target_epochs)} is one point of a path; give two "
            "or more, or none for all that are kept"
        )
    for arm in (comparison.finetuned, scratch):
        kept = arm.kept_epochs()
        missing = [epoch for epoch in comparison.target_epochs if epoch not in kept]
        if missing:
            which = options.finetuned if arm is comparison.finetuned else name
            problems.append(
                f"{path}.target_epochs: {missing} are not kept by the arm {which!r}, which keeps "
                f"{list(kept)}; add them to `target_epochs` there"
            )
    return problems
