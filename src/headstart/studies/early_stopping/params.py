"""The params of the early-stopping study: arms of transfer, what is measured of checkpoints, what is decided how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headstart.params.core import (
    CoreParams,
    no_weights,
    not_kept,
    repeated,
    suggest,
    unknown_names,
)
from headstart.params.recipe import NormalizedBy, Pretrain, Training
from headstart.params.types import (
    Count,
    Name,
    Natural,
    NonNegative,
    Positive,
    Section,
    Share,
    SourceEpoch,
    no_boolean,
)

NESTED_DRAWS = 1000
"""How many draws a source network can have of its own, so that one more changes none of the others."""
GRID_LISTS = ("source_epochs", "shots", "learning_rates")
Several = Annotated[int, BeforeValidator(no_boolean), Field(ge=2)]


class Grid(Section):
    """A further grid of runs of an arm, such as more shots from fewer starts; what it leaves out is the arm's."""

    targets: tuple[Name, ...] = ()
    source_epochs: tuple[SourceEpoch, ...] = ()
    shots: tuple[Count | Literal["all"], ...] = ()
    learning_rates: tuple[Positive, ...] = ()


class Transfer(Training):
    """One arm of transfer from every checkpoint requested, over shots, draws and learning rates."""

    mode: Literal["finetune", "probe", "relearn"]
    targets: tuple[Name, ...] = Field(
        default=(), description="target tasks; relearn has its source instead"
    )
    source_epochs: tuple[SourceEpoch, ...] = Field(min_length=1)
    shots: tuple[Count | Literal["all"], ...] = Field(min_length=1)
    draws: tuple[Natural, ...] = Field(
        min_length=1, description="of the target images; every source network has the same ones"
    )
    nested_draws: bool = Field(
        default=False,
        description="true: every source network has draws of its own; "
        "draw d of the network of seed s is then draw 1000 s + d",
    )
    learning_rates: tuple[Positive, ...] = Field(min_length=1)
    also: tuple[Grid, ...] = Field(
        default=(),
        description="further grids of the same arm, such as more shots from fewer starts",
    )
    shrink: Share = Field(
        default=1.0, description="multiplies the backbone's parameters before fine-tuning"
    )
    perturb: NonNegative = Field(
        default=0.0, description="share of a fresh backbone's parameters added after shrinking"
    )
    normalization: NormalizedBy = "source"
    head_seed: Natural = Field(default=1453, description="of the new head, the same for every run")
    source_accuracy: bool = Field(
        default=False,
        description="true: read after each run how well the trained network still tells the source's "
        "classes apart, with the source's own head",
    )
    test_epochs: tuple[Natural, ...] | Literal["all"] = Field(
        default=(),
        description="epochs at which test accuracy is read besides the chosen and the last",
    )
    keep: Literal["none", "best", "all"] = Field(
        default="none",
        description="trained networks that are kept for `headstart export`: the one that validation likes "
        "best of every source network, or those of all runs",
    )
    slots: Annotated[int, Field(ge=8, multiple_of=8)] | None = Field(
        default=None,
        description="train so many runs of a source network at a time, as one program; none: one by one. "
        "A run's last bits depend on it",
    )

    @model_validator(mode="after")
    def _targets(self) -> Transfer:
        if self.mode == "relearn" and self.targets:
            raise ValueError("mode relearn trains on the source task again: leave out `targets`")
        if self.mode == "relearn" and any(grid.targets for grid in self.also):
            raise ValueError("mode relearn has its source as the target: leave out `also.targets`")
        if self.mode != "relearn" and not self.targets:
            raise ValueError(f"mode {self.mode} needs at least one task in `targets`")
        if self.nested_draws and max(self.draws) >= NESTED_DRAWS:
            raise ValueError(
                f"draws: {max(self.draws)} with nested_draws; a source network has draws 0 to {NESTED_DRAWS - 1}"
            )
        return self

    def grids(self) -> tuple[Grid, ...]:
        """Return all grids with nothing left out, the arm's own first."""
        own = {name: getattr(self, name) for name in Grid.model_fields}
        given = [{name: value for name, value in grid if value} for grid in self.also]
        return tuple(Grid.model_construct(**{**own, **values}) for values in ({}, *given))

    def all_targets(self, source: str) -> tuple[str, ...]:
        """Return the targets of all grids, of an arm that relearns its source."""
        found = dict.fromkeys(target for grid in self.grids() for target in grid.targets)
        return tuple(found) or (source,)

    def for_target(self, target: str) -> Transfer:
        """Return the arm with the grids of one target alone, and none of the others' in its key."""
        first, *rest = (grid for grid in self.grids() if target in (grid.targets or (target,)))
        lists = {name: getattr(first, name) for name in GRID_LISTS}
        further = tuple(grid.model_copy(update={"targets": ()}) for grid in rest)
        return self.model_copy(update={**lists, "also": further})

    def draws_of(self, seed: int) -> tuple[int, ...]:
        """Return the draws of the source network of a seed; nested, no other network shares one."""
        return (
            tuple(NESTED_DRAWS * seed + draw for draw in self.draws)
            if self.nested_draws
            else self.draws
        )


class RandomLabels(Section):
    """The random-label probe: a short training on source images whose labels are drawn at random."""

    images: Several = Field(default=256, description="source validation images, all if fewer")
    batch_size: Several = 64
    steps: Count = 100
    optimizer: Literal["sgd", "adam"] = Field(
        default="adam", description="sgd without momentum, or Adam; no weight decay"
    )
    learning_rate: Positive = 1e-3


class Plasticity(Section):
    """Ranks, dormant units, weight norms, gradients and a random-label probe of every checkpoint."""

    enabled: bool = Field(default=True, description="false: no jobs, and an empty results folder")
    models: tuple[Name, ...] = Field(default=(), description="none named: all pretrained models")
    images: Several = Field(
        default=256, description="validation images of each task, all if it has fewer"
    )
    tau: NonNegative = Field(
        default=0.025, description="ReDo: dormant below this share of the layer's mean activity"
    )
    random_labels: RandomLabels = RandomLabels()
    weight_noise: NonNegative = Field(
        default=0.0,
        description="Gaussian noise on weights, as a share of their root mean square at epoch 0; "
        "0: its cost is not measured",
    )
    noise_draws: Count = Field(default=4, description="of the noise; the mean over them counts")
    hessian: bool = Field(
        default=False, description="top eigenvalue too: some 10 to 100 gradients per checkpoint"
    )
    head_seed: Natural = Field(default=1453, description="of the new heads; as in transfer")


class CheckpointScores(Section):
    """Transferability scores and probes of every start of fine-tuning, before anything is trained on the target."""

    enabled: bool = Field(default=False, description="false: no jobs, and an empty results folder")
    models: tuple[Name, ...] = Field(
        default=(), description="none named: all pretrained models with an arm of mode finetune"
    )


class Contrast(Section):
    """One arm on one target: earlier (or later) starts against the source-best one."""

    source: Name
    model: Name
    target: Name
    arm: Name
    shots: Count | Literal["all"]


class Statistics(Section):
    """How verdicts are reached."""

    primary: Contrast | None = Field(
        default=None,
        description="the one contrast chosen before looking; all others are corrected by Holm",
    )
    margin: Positive = Field(default=1.0, description="of equivalence, percentage points")
    fixed_rate: Positive | None = Field(
        default=None,
        description="the one rate of all starts on the second question, the largest up to it where a "
        "grid lacks it; none given: the highest of each grid",
    )
    control_resamples: Count = Field(
        default=20,
        description="of each control of every judge, in all studies; see `headstart controls`",
    )
    seed: Natural = Field(default=0, description="of the bootstrap, and of sign flips beyond 12")


def unknown_primary(
    primary: Contrast,
    sources: Mapping[str, tuple[str, ...]],
    transfer: Mapping[str, Mapping[str, Transfer]],
) -> tuple[str, str, list[str]] | None:
    """Return field, value and known values of the first name in `primary` that nothing is run for.

    `sources` are the source tasks of every model, `transfer` its arms.
    """
    arms = transfer.get(primary.model, {})
    arm = arms.get(primary.arm)
    known: dict[str, list[str]] = {
        "model": [model for model in transfer if model in sources],
        "source": list(sources.get(primary.model, ())),
        "arm": list(arms),
        "target": list(arm.all_targets(primary.source)) if arm else [],
        "shots": [str(shots) for shots in _shots_on(primary.target, arm)] if arm else [],
    }
    for field, names in known.items():
        value = str(getattr(primary, field))
        if value not in names:
            return field, value, names
    return None


def _shots_on(target: str, arm: Transfer) -> tuple[int | str, ...]:
    grids = [grid for grid in arm.grids() if target in (grid.targets or (target,))]
    return tuple(dict.fromkeys(shots for grid in grids for shots in grid.shots))


SECTIONS: dict[str, Any] = {
    "transfer": (dict[Name, dict[Name, Transfer]], Field(default_factory=dict)),
    "plasticity": (Plasticity, Plasticity()),
    "scores": (CheckpointScores, CheckpointScores()),
    "statistics": (Statistics, Statistics()),
}


def find_problems(params: CoreParams) -> list[str]:
    """List what these sections ask of networks that are not pre-trained, or of epochs that are not kept."""
    problems = []
    transfers: Mapping[str, Mapping[str, Transfer]] = params.section("transfer")
    for model, arms in transfers.items():
        problems += unknown_names(f"transfer.{model}", [model], "pretrain", params)
        for arm, transfer in arms.items():
            path = f"transfer.{model}.{arm}"
            problems += repeated(path, transfer, ("draws",))
            grids: tuple[Transfer | Grid, ...] = (transfer, *transfer.also)
            for grid in grids:
                problems += unknown_names(f"{path}.targets", grid.targets, "tasks", params)
                problems += repeated(path, grid, ("targets", *GRID_LISTS))
            if model in params.pretrain:
                problems += _missing_epochs(path, transfer, params.pretrain[model])
                problems += no_weights(path, transfer, model, params)
    plasticity: Plasticity = params.section("plasticity")
    problems += unknown_names("plasticity.models", plasticity.models, "pretrain", params)
    problems += repeated("plasticity", plasticity, ("models",))
    scores: CheckpointScores = params.section("scores")
    problems += unknown_names("scores.models", scores.models, "pretrain", params)
    problems += repeated("scores", scores, ("models",))
    return problems or _primary_problems(params, transfers)


def _missing_epochs(path: str, transfer: Transfer, pretrain: Pretrain) -> list[str]:
    late = [
        epoch
        for epoch in transfer.test_epochs
        if isinstance(epoch, int) and epoch > transfer.epochs
    ]
    asked = dict.fromkeys(epoch for grid in transfer.grids() for epoch in grid.source_epochs)
    problems = not_kept(path, tuple(asked), pretrain)
    if late:
        problems.append(f"{path}.test_epochs: {late} lie after the last epoch, {transfer.epochs}")
    return problems


def _primary_problems(
    params: CoreParams, transfers: Mapping[str, Mapping[str, Transfer]]
) -> list[str]:
    primary = params.section("statistics").primary
    if primary is None:
        return []
    sources = {model: tuple(pretrain.sources) for model, pretrain in params.pretrain.items()}
    problem = unknown_primary(primary, sources, transfers)
    if problem is None:
        return []
    field, value, names = problem
    fix = suggest(value, names) if names else "there are no runs of transfer"
    return [
        f"statistics.primary.{field}: nothing is run for {value!r}; {fix}. "
        "Or leave `primary` out: then every contrast is corrected"
    ]
