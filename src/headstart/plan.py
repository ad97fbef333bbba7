"""The graph of jobs that a params file asks for: the one source for Snakemake, DVC and the commands.

It reads `params.yaml` and source files, nothing else: no data, no network and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from headstart.artifacts.code import code_of, notebook_hash, source_hash
from headstart.artifacts.files import file_sha256
from headstart.artifacts.keys import SHORT, Job
from headstart.params import (
    Analysis,
    Comparison,
    Invariance,
    Params,
    Pretrain,
    Scores,
    Section,
    Trajectory,
    Transfer,
    canonical,
)

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
CLAIMS = ROOT / "claims.yaml"
PUBLISHED_INVARIANCE = ROOT / "published" / "invariance_figures.csv"
PUBLISHED = [ROOT / "published" / f"early_stopping{part}.csv" for part in ("", "_protocols")]


@dataclass(frozen=True)
class Step:
    """A kind of job: the function that does it, and the params sections that its jobs are listed by."""

    name: str
    function: str
    sections: tuple[str, ...]
    versioned: bool = True

    @property
    def module(self) -> str:
        """The module whose imports are the step's code."""
        return self.function.partition(":")[0]


# Sections that decide which jobs there are; each step along the way reads those before it and its own.
PRETRAINED = ("datasets", "tasks", "models", "pretrain")
TRANSFERRED = (*PRETRAINED, "transfer")
TRAINED = (*PRETRAINED, "trajectory")
LOOKED_INTO = (*TRAINED, "knowledge")
INVERTED = (*TRAINED, "invariance")
TABULATED = (*TRANSFERRED, "trajectory", "plasticity", "knowledge", "invariance", "statistics")
DRAWN = (*TABULATED, "figures")

STEPS = {
    step.name: step
    for step in (
        Step("data", "headstart.studies.data:make", ("datasets",)),
        Step(
            "check",
            "headstart.studies.check:make",
            (*TRANSFERRED, "trajectory", "knowledge", "invariance", "runtime"),
            versioned=False,
        ),
        Step(
            "pretrain",
            "headstart.studies.pretrain:make",
            PRETRAINED,
        ),
        Step(
            "transfer",
            "headstart.studies.transfer:make",
            TRANSFERRED,
        ),
        Step(
            "trajectory",
            "headstart.studies.trajectory:make",
            TRAINED,
        ),
        Step(
            "plasticity",
            "headstart.studies.plasticity:make",
            (*TRANSFERRED, "plasticity"),
        ),
        Step(
            "values",
            "headstart.studies.knowledge.values:make",
            LOOKED_INTO,
        ),
        Step(
            "knowledge",
            "headstart.studies.knowledge.measure:make",
            LOOKED_INTO,
        ),
        Step(
            "inversions",
            "headstart.studies.inversions:make",
            INVERTED,
        ),
        Step(
            "invariance",
            "headstart.studies.invariance:make",
            INVERTED,
        ),
        Step(
            "tables",
            "headstart.studies.tables:make",
            TABULATED,
            versioned=False,
        ),
        Step(
            "claims",
            "headstart.studies.claims:make",
            TABULATED,
            versioned=False,
        ),
        Step(
            "figures",
            "headstart.figures.notebook:make",
            DRAWN,
            versioned=False,
        ),
        Step(
            "report",
            "headstart.figures.report:make",
            DRAWN,
            versioned=False,
        ),
        Step(
            "publish",
            "headstart.figures.publish:publish",
            DRAWN,
            versioned=False,
        ),
    )
}


@cache
def _code(step: str) -> str:
    kind = STEPS[step]
    return code_of(step, kind.module) if kind.versioned else source_hash(kind.module)


class Plan:
    """All jobs of a params file, in the order of the graph."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self._jobs: dict[str, Job] = {}
        self._by_step: dict[str, list[Job]] = {step: [] for step in STEPS}
        self._data = {name: self._add_data(name) for name in params.datasets}
        self._check = self._add_check()
        self._pretrain = {
            (source, model, seed): self._add_pretrain(source, model, seed, pretrain)
            for model, pretrain in params.pretrain.items()
            for source in pretrain.sources
            for seed in pretrain.seeds
        }
        for model, arms in params.transfer.items():
            for arm, transfer in arms.items():
                self._add_transfers(model, arm, transfer)
        self._trajectory: dict[tuple[str, ...], Job] = {}
        for model, trajectories in params.trajectory.items():
            for arm, trajectory in trajectories.items():
                self._add_trajectories(model, arm, trajectory)
        for model, knowledge in params.knowledge.items():
            self._add_knowledge(Comparison(model, knowledge, params.trajectory, params.pretrain))
        for model, invariance in params.invariance.items():
            self._add_invariances(model, invariance)
        if params.plasticity.enabled:
            for source, model, seed in self._pretrain:
                if model in (params.plasticity.models or params.pretrain):
                    self._add_plasticity(source, model, seed)
        self._add_early_stopping()
        if params.knowledge:
            self._add_figures(self._add("tables", "knowledge", inputs=self._of("knowledge")))
        if self._by_step["invariance"]:
            self._add_invariance_tables()
        self._add_products()

    def jobs(self, *steps: str) -> list[Job]:
        """Return the jobs of the given steps, or of all."""
        return [job for step in steps or STEPS for job in self._by_step[step]]

    def job(self, key: str) -> Job:
        """Return the job whose key begins with these 12 digits.

        Raises:
            LookupError: no such job in this plan.
        """
        try:
            return self._jobs[key[:SHORT]]
        except KeyError:
            raise LookupError(
                f"no job has the key {key}: the params or the source changed since it was listed; "
                "run the command again"
            ) from None

    def _add(
        self,
        step: str,
        name: str,
        *,
        code: str | None = None,
        wildcards: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, tuple[Job, ...]] | None = None,
        after: tuple[Job, ...] = (),
    ) -> Job:
        texts = {wildcard: str(value) for wildcard, value in (wildcards or {}).items()}
        job = Job(step, name, code or _code(step), texts, params or {}, inputs or {}, after)
        if job.key in self._jobs:
            return self._jobs[job.key]
        self._jobs[job.key] = job
        self._by_step[step].append(job)
        return job

    def _of(self, *steps: str) -> dict[str, tuple[Job, ...]]:
        return {step: tuple(self._by_step[step]) for step in steps}

    def _add_data(self, name: str) -> Job:
        params = canonical(self.params.datasets[name])
        return self._add("data", name, wildcards={"dataset": name}, params=params)

    def _add_check(self) -> Job:
        sections = {section: getattr(self.params, section) for section in STEPS["check"].sections}
        whole = Params.model_construct(**sections)
        return self._add(
            "check", "study", params=canonical(whole), inputs={"data": tuple(self._data.values())}
        )

    def _data_of(self, task: str) -> Job:
        return self._data[self.params.tasks[task].dataset]

    def _add_pretrain(self, source: str, model: str, seed: int, pretrain: Pretrain) -> Job:
        return self._add(
            "pretrain",
            f"{source}-{model}-seed{seed}",
            wildcards={"source": source, "model": model, "seed": seed},
            params={
                "task": canonical(self.params.tasks[source]),
                "model": canonical(self.params.models[model]),
                "pretrain": _without(canonical(pretrain), "sources", "seeds"),
            },
            inputs={"data": (self._data_of(source),)},
            after=(self._check,),
        )

    def _add_transfers(self, model: str, arm: str, transfer: Transfer) -> None:
        pretrain = self.params.pretrain[model]
        for source in pretrain.sources:
            for target in transfer.targets or (source,):
                for seed in pretrain.seeds:
                    self._add_transfer(source, model, target, arm, seed, transfer)

    def _add_transfer(
        self, source: str, model: str, target: str, arm: str, seed: int, transfer: Transfer
    ) -> None:
        self._add(
            "transfer",
            f"{source}-{model}-{target}-{arm}-seed{seed}",
            wildcards={
                "source": source,
                "model": model,
                "target": target,
                "arm": arm,
                "seed": seed,
            },
            params={
                "task": canonical(self.params.tasks[target]),
                "model": canonical(self.params.models[model]),
                "transfer": _without(canonical(transfer), "targets"),
            },
            inputs={
                "pretrain": (self._pretrain[source, model, seed],),
                "data": (self._data_of(target),),
            },
            after=(self._check,),
        )

    def _add_trajectories(self, model: str, arm: str, trajectory: Trajectory) -> None:
        pretrain = self.params.pretrain[model]
        options = (
            pretrain.sources,
            trajectory.targets,
            dict.fromkeys(pretrain.epochs if e == "last" else e for e in trajectory.source_epochs),
            trajectory.seeds or pretrain.seeds,
            trajectory.target_seeds,
        )
        for source, target, source_epoch, seed, target_seed in product(*options):
            wildcards = {
                "source": source,
                "model": model,
                "target": target,
                "arm": arm,
                "source_epoch": source_epoch,
                "seed": seed,
                "target_seed": target_seed,
            }
            self._add_trajectory(wildcards, trajectory)

    def _add_trajectory(self, wildcards: dict[str, Any], trajectory: Trajectory) -> None:
        source, model, target, arm, source_epoch, seed, target_seed = wildcards.values()
        grid = ("targets", "source_epochs", "seeds", "target_seeds")
        self._trajectory[tuple(map(str, wildcards.values()))] = self._add(
            "trajectory",
            f"{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}",
            wildcards=wildcards,
            params={
                "task": canonical(self.params.tasks[target]),
                "model": canonical(self.params.models[model]),
                "trajectory": _without(canonical(trajectory), *grid),
            },
            inputs={
                "pretrain": (self._pretrain[source, model, seed],),
                "data": (self._data_of(target),),
            },
            after=(self._check,),
        )

    def _add_knowledge(self, comparison: Comparison) -> None:
        """Add what compares the networks of one model, on each target, and the values that it reads."""
        model = comparison.model
        for source, target in product(self.params.pretrain[model].sources, comparison.targets):
            values = [
                self._add_values(comparison, source, target, seed, place)
                for seed in comparison.seeds
                for place in dict.fromkeys((s.model, s.arm) for s in comparison.states())
            ]
            self._add(
                "knowledge",
                f"{source}-{model}-{target}",
                wildcards={"source": source, "model": model, "target": target},
                params={
                    "roles": comparison.roles(),
                    "analysis": canonical(_part(comparison.options, Analysis)),
                },
                inputs={"values": tuple(values)},
            )

    def _add_values(
        self, comparison: Comparison, source: str, target: str, seed: int, place: tuple[str, str]
    ) -> Job:
        """Add the job that evaluates all states of one arm that a comparison asks for."""
        model, arm = place
        asked: dict[Job, list[Any]] = {}
        for states in comparison.states():
            if (states.model, states.arm) == place:
                for source_epoch, run in product(states.source_epochs, states.target_seeds):
                    names = (source, model, target, arm, source_epoch, seed, run)
                    job = self._trajectory[tuple(map(str, names))]
                    known = asked.setdefault(job, [])
                    known += [epoch for epoch in states.epochs if epoch not in known]
        trajectory = self.params.trajectory[model][arm]
        return self._add(
            "values",
            f"{source}-{model}-{target}-{arm}-seed{seed}",
            wildcards={
                "source": source,
                "model": model,
                "target": target,
                "arm": arm,
                "seed": seed,
            },
            params={
                "task": canonical(self.params.tasks[target]),
                "model": canonical(self.params.models[model]),
                "scores": canonical(_part(comparison.options, Scores)),
                "epochs": list(asked.values()),
                **({"channels_last": True} if trajectory.channels_last else {}),
            },
            inputs={"trajectory": tuple(asked), "data": (self._data_of(target),)},
        )

    def _add_plasticity(self, source: str, model: str, seed: int) -> None:
        """Add the job that measures one network on its source and on the targets it transfers to."""
        arms = self.params.transfer.get(model, {}).values()
        names = sorted({source, *(target for arm in arms for target in arm.targets)})
        datasets = sorted({self.params.tasks[name].dataset for name in names})
        plasticity = _without(canonical(self.params.plasticity), "enabled", "models")
        self._add(
            "plasticity",
            f"{source}-{model}-seed{seed}",
            wildcards={"source": source, "model": model, "seed": seed},
            params={
                "tasks": {name: canonical(self.params.tasks[name]) for name in names},
                "model": canonical(self.params.models[model]),
                "pretrain": _without(canonical(self.params.pretrain[model]), "sources", "seeds"),
                "plasticity": plasticity,
            },
            inputs={
                "pretrain": (self._pretrain[source, model, seed],),
                "data": tuple(self._data[dataset] for dataset in datasets),
            },
        )

    def _add_invariances(self, model: str, options: Invariance) -> None:
        """Add inversions and comparisons of the runs of a model, from each of its source networks."""
        groups: dict[tuple[str, ...], list[Job]] = {}
        for run in self._by_step["trajectory"]:
            if run.wildcards["model"] == model and run.wildcards["arm"] in options.arms:
                group = tuple(run.wildcards[name] for name in ("source", "target", "seed"))
                groups.setdefault(group, []).append(run)
        for (source, target, seed), runs in groups.items():
            pretrain = self._pretrain[source, model, int(seed)]
            starts = dict.fromkeys(run.wildcards["source_epoch"] for run in runs)
            inverted = [
                self._add_inversions(
                    pretrain, {"arm": "pretrained", "source_epoch": epoch}, options, [epoch], target
                )
                for epoch in starts
            ]
            for run in runs:
                learning = run.wildcards["arm"] in options.dynamics.learning
                last = self.params.trajectory[model][run.wildcards["arm"]].epochs
                on_the_way = [e for e in options.dynamics.epochs if e <= last and learning]
                epochs = [*map(str, on_the_way), options.end]
                inverted.append(self._add_inversions(run, run.wildcards, options, epochs, target))
            self._add_invariance(pretrain, target, runs, inverted, options)

    def _add_inversions(
        self,
        network: Job,
        names: Mapping[str, str],
        options: Invariance,
        epochs: list[str],
        target: str,
    ) -> Job:
        """Add the job that inverts a pretrained network, or a run at some of its epochs."""
        source, model, seed = (network.wildcards[name] for name in ("source", "model", "seed"))
        arm, source_epoch = names["arm"], names["source_epoch"]
        target_seed = names.get("target_seed", "0")
        return self._add(
            "inversions",
            f"{source}-{model}-{target}-{arm}-epoch{source_epoch}-seed{seed}-run{target_seed}",
            wildcards={
                "source": source,
                "model": model,
                "target": target,
                "arm": arm,
                "source_epoch": source_epoch,
                "seed": seed,
                "target_seed": target_seed,
            },
            params={
                "task": canonical(self.params.tasks[target]),
                "model": canonical(self.params.models[model]),
                "inversions": canonical(options.inversions),
                "epochs": epochs,
            },
            inputs={"network": (network,), "data": (self._data_of(target),)},
        )

    def _add_invariance(
        self,
        pretrain: Job,
        target: str,
        runs: list[Job],
        inverted: list[Job],
        options: Invariance,
    ) -> None:
        """Add the job that compares all runs from one source network with it."""
        names = {name: pretrain.wildcards[name] for name in ("source", "model", "seed")}
        source, model, seed = names.values()
        self._add(
            "invariance",
            f"{source}-{model}-{target}-seed{seed}",
            wildcards={**names, "target": target},
            params={
                "task": canonical(self.params.tasks[target]),
                "model": canonical(self.params.models[model]),
                "invariance": canonical(options),
            },
            inputs={
                "pretrain": (pretrain,),
                "trajectory": tuple(runs),
                "inversions": tuple(inverted),
                "data": (self._data_of(target),),
            },
        )

    def _add_invariance_tables(self) -> None:
        digest = file_sha256(PUBLISHED_INVARIANCE)
        tables = self._add(
            "tables",
            "invariance",
            params={"published": {PUBLISHED_INVARIANCE.name: digest}},
            inputs=self._of("invariance"),
        )
        self._add_figures(tables)

    def _add_early_stopping(self) -> None:
        statistics = {"statistics": canonical(self.params.statistics)}
        tables = self._add(
            "tables",
            "early_stopping",
            params={
                **statistics,
                "published": {path.name: file_sha256(path) for path in PUBLISHED},
            },
            inputs=self._of("pretrain", "transfer", "plasticity"),
        )
        self._add_figures(tables)

    def _add_figures(self, tables: Job) -> None:
        """Add the job that draws the figures of a study, by the notebook of its name."""
        self._add(
            "figures",
            tables.name,
            code=notebook_hash(NOTEBOOKS / f"{tables.name}.ipynb", STEPS["figures"].module),
            params={"figures": canonical(self.params.figures)},
            inputs={"tables": (tables,)},
        )

    def _add_products(self) -> None:
        """Add what a person opens: claims, report and their copies, from the tables and figures of all studies."""
        content = {
            "statistics": canonical(self.params.statistics),
            "claims": file_sha256(CLAIMS),
        }
        self._add("claims", "all", params=content, inputs=self._of("tables"))
        self._add("report", "all", inputs=self._of("tables", "figures", "claims"))
        self._add("publish", "all", inputs=self._of("figures", "report", "claims"))


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _part(options: Section, kind: type[Section]) -> Section:
    """Return the options of a section that it has from one of its bases."""
    return kind.model_validate(options.model_dump(include=set(kind.model_fields)))


def manifests(jobs: Iterable[Job]) -> list[str]:
    """Return the manifest paths of jobs, as Snakemake names its files."""
    return [job.manifest.as_posix() for job in jobs]


def needs(plan: Plan, role: str) -> Callable[[Any], list[str]]:
    """Return a Snakemake input function: the manifests that a rule's job reads in this role, if any."""

    def manifests_of(wildcards: Any) -> list[str]:
        return manifests(plan.job(wildcards.key).inputs.get(role, ()))

    return manifests_of


def comes_after(plan: Plan) -> Callable[[Any], list[str]]:
    """Return a Snakemake input function: the manifests of what must have run before a rule's job.

    There are none where the job is done already. Its predecessors are not in its key, and Snakemake
    runs a job again, `ancient` or not, when an input of it has to be made.
    """

    def manifests_of(wildcards: Any) -> list[str]:
        job = plan.job(wildcards.key)
        return [] if job.manifest.exists() else manifests(job.after)

    return manifests_of
