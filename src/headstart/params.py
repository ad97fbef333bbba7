"""The typed, frozen view of `params.yaml`: every wrong key or value is an error with its path.

The classes below are the one description of what may stand in a params file. The JSON schema in
`workflow/schemas/` is made from them, and so are the keys of artifacts (`canonical`).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


class ParamsError(ValueError):
    """A params file that cannot be used; the message names the file, the key, the value and the remedy."""


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, BeforeValidator(_no_boolean), Field(ge=1)]
Natural = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(_no_boolean), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, BeforeValidator(_no_boolean), Field(gt=0, lt=1)]
SourceEpoch = Natural | Literal["best"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ---------------------------------------------------------------------------------------- datasets


class Glyphs(Section):
    """Letters drawn from the typefaces that ship with matplotlib; test typefaces are never trained on."""

    kind: Literal["glyphs"]
    size: Count = 16
    train_per_class: Count = 100
    test_per_class: Count = 25
    alphabets: tuple[Literal["latin", "cyrillic", "greek"], ...] = ("latin", "cyrillic")
    rotation: NonNegative = Field(default=15.0, description="largest rotation, degrees")
    shear: NonNegative = Field(default=0.2, description="largest horizontal shear, as a slope")
    scale: tuple[Positive, Positive] = Field(
        default=(0.7, 1.0), description="smallest and largest scale"
    )
    shift: NonNegative = Field(
        default=0.08, description="largest shift, as a fraction of the image side"
    )
    noise: NonNegative = Field(
        default=0.08, description="standard deviation of pixel noise, white = 1"
    )
    seed: Natural = 0


class Digits(Section):
    """The 1,797 real handwritten digits inside scikit-learn (8 × 8, enlarged to `size`)."""

    kind: Literal["digits"]
    size: Count = 16
    test_fraction: Fraction = 0.3
    seed: Natural = 0


class ImageFolder(Section):
    """A folder of class folders, or of `train/` and `test/` with class folders in each; JPEG or PNG."""

    kind: Literal["image_folder"]
    path: str
    sha256: Sha256 | None = Field(
        default=None, description="content, written by `headstart data add`"
    )
    size: Count
    channels: Literal[1, 3] = 3
    resize: Literal["crop", "squash"] = Field(
        default="crop",
        description="crop: shorter side to `size`, then centre crop; squash: both sides",
    )
    test_fraction: Fraction = Field(default=0.2, description="used where there is no test/ folder")
    seed: Natural = 0
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="named sets of classes"
    )


TorchvisionName = Literal[
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "EMNIST",
    "SVHN",
    "STL10",
    "EuroSAT",
    "OxfordIIITPet",
    "Flowers102",
    "Caltech101",
]


class Torchvision(Section):
    """A dataset that torchvision downloads; the files are cached in `folder`."""

    kind: Literal["torchvision"]
    name: TorchvisionName
    folder: str = "downloads"
    size: Count | None = Field(default=None, description="null keeps the size of the source images")
    channels: Literal[1, 3] | None = None
    resize: Literal["crop", "squash"] = "crop"
    test_fraction: Fraction = Field(
        default=0.2, description="used where the dataset has no test part"
    )
    seed: Natural = 0
    emnist_split: Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"] = (
        "letters"
    )


Dataset = Annotated[Glyphs | Digits | ImageFolder | Torchvision, Field(discriminator="kind")]


class Task(Section):
    """A dataset plus a choice of classes; validation images are held out of its training part."""

    dataset: Name
    classes: str | tuple[str, ...] = Field(
        default="all", description="'all', a class, a named group, or a list of these"
    )
    validation_per_class: Count = 10
    train_per_class: Count | None = Field(
        default=None, description="keep only so many training images"
    )


# ------------------------------------------------------------------------------------------ models


class Weights(Section):
    """Weights to start from instead of random ones; their content is part of every key."""

    path: str | None = Field(
        default=None, description="a safetensors file; null: those of the timm tag"
    )
    sha256: Sha256


class ConvNet(Section):
    """A small convolutional network with batch normalisation: three stages, global average pooling."""

    kind: Literal["convnet"]
    width: Count = 16
    weights: Weights | None = None


class WideResNet(Section):
    """WRN-depth-width (Zagoruyko & Komodakis 2016), for 32 × 32 images; depth = 6 n + 4."""

    kind: Literal["wrn"]
    depth: Count = 28
    width: Count = 10
    dropout: Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, lt=1)] = 0.0
    weights: Weights | None = None

    @model_validator(mode="after")
    def _depth(self) -> WideResNet:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth {self.depth} is not 6 n + 4 (10, 16, 22, 28, 40, …)")
        return self


class Timm(Section):
    """Any timm model by name and keyword arguments."""

    kind: Literal["timm"]
    name: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    weights: Weights | None = None


class OwnNetwork(Section):
    """A user's own network: `path` is a Python file, `function` in it makes the module."""

    kind: Literal["file"]
    path: str
    function: str
    sha256: Sha256
    kwargs: dict[str, Any] = Field(default_factory=dict)
    weights: Weights | None = None


Model = Annotated[ConvNet | WideResNet | Timm | OwnNetwork, Field(discriminator="kind")]


# ---------------------------------------------------------------------------------------- training


class Augmentation(Section):
    """Random changes of training images, drawn anew for every batch. All off by default."""

    shift: Natural = Field(default=0, description="largest shift in pixels; edges are repeated")
    flip: bool = Field(default=False, description="mirror half of the images left to right")
    crop_scale: tuple[Positive, Positive] | None = Field(
        default=None, description="random resized crop: smallest and largest share of the area"
    )
    colour_jitter: NonNegative = Field(
        default=0.0, description="strength for brightness, contrast, saturation"
    )
    rotation: NonNegative = Field(default=0.0, description="largest rotation, degrees")


class Schedule(Section):
    """The learning rate over epochs, as a factor on the optimiser's rate."""

    name: Literal["constant", "step", "cosine"] = "constant"
    drops: tuple[Natural, ...] = Field(
        default=(), description="step: epochs (from 0) at which it drops"
    )
    factor: Positive = Field(default=0.1, description="step: what each drop multiplies it with")
    warmup_epochs: NonNegative = Field(
        default=0.0, description="linear rise from 0, counted in epochs"
    )


class Optimizer(Section):
    """SGD with Nesterov momentum, or AdamW; no weight decay on norms and biases."""

    name: Literal["sgd", "adamw"] = "sgd"
    momentum: NonNegative = 0.9
    nesterov: bool = True
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0


class Training(Section):
    """What pre-training and fine-tuning have in common, the learning rate apart."""

    epochs: Count
    batch_size: Count = 128
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()
    label_smoothing: Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16: autocast on CUDA"
    )
    channels_last: bool = False
    compile: bool = False


class Checkpoints(Section):
    """Which epochs are kept, besides 0, the last, and the one that `selection` picks."""

    log_spaced: bool = Field(default=True, description="1, 2, 4, 8, …")
    every: Count | None = None
    around_drops: Natural | None = Field(
        default=1, description="epochs before and after each drop of the rate"
    )
    epochs: tuple[Natural, ...] = ()


class Selection(Section):
    """The early-stopping rule that picks `best` among all epochs; it never ends the run."""

    metric: Literal["accuracy", "loss"] = "accuracy"
    patience: Count | None = Field(
        default=None, description="stop looking after so many epochs without a gain"
    )


class Pretrain(Training):
    """Pre-training of one model: on which source tasks, from which seeds, what is kept."""

    sources: tuple[Name, ...] = Field(min_length=1)
    seeds: tuple[Natural, ...] = Field(min_length=1)
    learning_rate: Positive
    checkpoints: Checkpoints = Checkpoints()
    selection: Selection = Selection()
    test_at_checkpoints: bool = Field(
        default=True, description="read test accuracy at each checkpoint"
    )

    def checkpoint_epochs(self) -> tuple[int, ...]:
        """Return the epochs whose weights are kept whatever happens, ascending, 0 and the last included."""
        kept = {0, self.epochs, *self.checkpoints.epochs}
        if self.checkpoints.log_spaced:
            kept |= {2**power for power in range(self.epochs.bit_length())}
        if self.checkpoints.every:
            kept |= set(range(0, self.epochs + 1, self.checkpoints.every))
        if self.schedule.name == "step" and self.checkpoints.around_drops is not None:
            reach = self.checkpoints.around_drops
            kept |= {drop + d for drop in self.schedule.drops for d in range(-reach, reach + 1)}
        return tuple(sorted(epoch for epoch in kept if 0 <= epoch <= self.epochs))


class Transfer(Training):
    """One arm of transfer from every checkpoint asked for, with crossed draws, shots and learning rates."""

    mode: Literal["finetune", "probe", "relearn"]
    targets: tuple[Name, ...] = Field(
        default=(), description="target tasks; relearn has its source instead"
    )
    source_epochs: tuple[SourceEpoch, ...] = Field(min_length=1)
    shots: tuple[Count | Literal["all"], ...] = Field(min_length=1)
    draws: tuple[Natural, ...] = Field(min_length=1)
    learning_rates: tuple[Positive, ...] = Field(min_length=1)
    head_seed: Natural = Field(default=1453, description="of the new head, the same for every run")
    test_epochs: tuple[Natural, ...] | Literal["all"] = Field(
        default=(),
        description="epochs at which test accuracy is read besides the chosen and the last",
    )

    @model_validator(mode="after")
    def _targets(self) -> Transfer:
        if self.mode == "relearn" and self.targets:
            raise ValueError("mode relearn trains on the source task again: leave out `targets`")
        if self.mode != "relearn" and not self.targets:
            raise ValueError(f"mode {self.mode} needs at least one task in `targets`")
        return self


class Figures(Section):
    """How the figures are drawn."""

    confidence: Fraction = Field(default=0.95, description="of the intervals, over source seeds")
    dots_per_inch: Count = 200


class Runtime(Section):
    """Where things run. Not part of any key: a result is valid wherever it was made."""

    device: Literal["auto", "cpu", "cuda"] = "auto"


class Params(Section):
    """A whole params file."""

    datasets: dict[Name, Dataset]
    tasks: dict[Name, Task]
    models: dict[Name, Model]
    pretrain: dict[Name, Pretrain]
    transfer: dict[Name, dict[Name, Transfer]] = Field(default_factory=dict)
    figures: Figures = Figures()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _references(self) -> Params:
        for problem in _broken_references(self):
            raise ValueError(problem)
        return self


def _broken_references(params: Params) -> list[str]:
    """List what one section says of another that is not so."""
    problems = []

    def known(path: str, name: str, section: str) -> None:
        names = list(getattr(params, section))
        if name not in names:
            problems.append(f"{path}: {name!r} is not in `{section}`; {_suggest(name, names)}")

    for name, task in params.tasks.items():
        known(f"tasks.{name}.dataset", task.dataset, "datasets")
    for model, pretrain in params.pretrain.items():
        known(f"pretrain.{model}", model, "models")
        for source in pretrain.sources:
            known(f"pretrain.{model}.sources", source, "tasks")
        problems += _repeated(f"pretrain.{model}", pretrain, ("sources", "seeds"))
    for model, arms in params.transfer.items():
        known(f"transfer.{model}", model, "pretrain")
        for arm, transfer in arms.items():
            path = f"transfer.{model}.{arm}"
            for target in transfer.targets:
                known(f"{path}.targets", target, "tasks")
            problems += _repeated(
                path, transfer, ("targets", "source_epochs", "shots", "draws", "learning_rates")
            )
            if model in params.pretrain:
                problems += _missing_epochs(path, transfer, params.pretrain[model])
    return problems


def _repeated(path: str, section: Section, fields: tuple[str, ...]) -> list[str]:
    lists = {field: getattr(section, field) for field in fields}
    return [
        f"{path}.{field}: {list(values)} names something twice; each belongs there once"
        for field, values in lists.items()
        if len(set(values)) < len(values)
    ]


def _missing_epochs(path: str, transfer: Transfer, pretrain: Pretrain) -> list[str]:
    kept = pretrain.checkpoint_epochs()
    missing = [epoch for epoch in transfer.source_epochs if epoch != "best" and epoch not in kept]
    late = [
        epoch
        for epoch in transfer.test_epochs
        if isinstance(epoch, int) and epoch > transfer.epochs
    ]
    problems = []
    if missing:
        problems.append(
            f"{path}.source_epochs: {missing} are not kept by pre-training, which keeps {list(kept)}; "
            "add them to `checkpoints.epochs` there"
        )
    if late:
        problems.append(f"{path}.test_epochs: {late} lie after the last epoch, {transfer.epochs}")
    return problems


# ------------------------------------------------------------------------------------ reading files


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds a wrong key or value. Every problem
            stands on a line of its own.
    """
    path = Path(path)
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such file; `headstart use default` writes the default study"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ParamsError(
            f"{path}: sections such as `datasets:` are needed, found {type(raw).__name__}"
        )
    return parse(raw, path)


def parse(raw: dict[str, Any], path: Path | str = "params.yaml") -> Params:
    """Check a params file that has been read already."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = list(dict.fromkeys(_explain(problem) for problem in error.errors()))
        raise ParamsError("\n".join(f"{path}: {problem}" for problem in problems)) from None


def canonical(section: BaseModel) -> dict[str, Any]:
    """Return typed values with fields at their default left out, so that a new option changes no key."""
    return section.model_dump(mode="json", exclude_defaults=True)


def _explain(problem: ErrorDetails) -> str:
    parts = _readable(problem["loc"])
    path, value = ".".join(parts), problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key; {_suggest(parts[-1], _every_field())}"
    if problem["type"] == "missing":
        return f"{path}: this key is missing"
    if problem["type"] == "value_error" and not parts:
        return problem["msg"].removeprefix("Value error, ")
    reason = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(value, dict | BaseModel) else f", found {value!r}"
    return f"{path}: {reason[0].lower()}{reason[1:]}{shown}"


def _readable(location: tuple[int | str, ...]) -> list[str]:
    """Drop what is the validator's and not the file's: the kind behind a name, the branch of a union."""
    parts = [str(part) for part in location]
    if len(parts) > 2 and parts[0] in ("datasets", "models"):
        del parts[2]
    return [part for part in parts if not any(mark in part for mark in "[(-")]


def _every_field() -> list[str]:
    """Return the names of all keys that any section knows."""
    sections: list[type[BaseModel]] = [Section]
    names: set[str] = set()
    while sections:
        section = sections.pop()
        sections.extend(section.__subclasses__())
        names |= set(section.model_fields)
    return sorted(names)


def _suggest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names)}"


TORCHVISION_NAMES: tuple[str, ...] = get_args(TorchvisionName)
