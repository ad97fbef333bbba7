"""`headstart start`: a study of one's own images, made from what their folders hold."""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headstart.artifacts.files import write_atomically
from headstart.artifacts.keys import STORE, derive_seed
from headstart.maintenance import presets, project
from headstart.maintenance.estimate import Estimate, plan_text
from headstart.maintenance.given_weights import add_weights, published_weights
from headstart.maintenance.housekeeping import snapshot
from headstart.networks.build import build
from headstart.networks.network import Network, NetworkError
from headstart.networks.own import read_source
from headstart.params.datasets import Background
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import parse
from headstart.studies.early_stopping.verdicts.decision import seeds_needed
from headstart.tasks.image_survey import Survey, survey
from headstart.tasks.pictures import shown
from headstart.training import TrainingError
from headstart.training.device import choose_device
from headstart.training.interventions import batch_norms

PRESET = "folder"
# A function in a file, such as `lenet.py:backbone`.
OWN = re.compile(r"\.py(:\w*)?$")
# Beside a model with given weights: the same one from scratch.
SCRATCH = "_scratch"
SMALLEST_TASK = 2
# Of a class: one image each to train on, to validate and to test.
FEWEST_IMAGES = 3
# An epoch shows so many images or more, so that a small folder has updates enough.
EPOCH = 1000
TARGET_SHARE = 0.4
SIDE, SMALLEST_SIDE, MOST_SHOTS, MOST_VALIDATION = 32, 16, 20, 50
# Trained as one program, several such networks or larger ones take longer than one after another.
LARGE = 500_000
# A knob is named where it saves this share of the hours or more.
WORTH = 0.1
RECIPES: dict[bool, dict[str, Any]] = {
    True: {"rates": [0.2, 0.05, 0.01], "pretrain": {}, "finetune": {}},
    # Without batch normalisation plain gradient descent is slow and brittle.
    False: {
        "rates": [3e-3, 1e-3, 3e-4],
        "pretrain": {
            "learning_rate": 1e-3,
            "optimizer": {"name": "adamw", "weight_decay": 0.05},
            "schedule": {"name": "cosine", "warmup_epochs": 2},
        },
        "finetune": {"optimizer": {"name": "adamw", "weight_decay": 0.05}},
    },
}


class Request(NamedTuple):
    """What a person asks for: a folder, another for the target, a network, how images are read."""

    folder: Path
    target: Path | None
    model: str
    size: int | None
    background: Background | None
    weights: Path | None = None

    @property
    def given(self) -> bool:
        """Return whether a trained network is given, so that none is pre-trained here."""
        return self.weights is not None or ("." in self.model and not OWN.search(self.model))


class Chosen(NamedTuple):
    """One task: its name, its dataset, the images of that, and its classes."""

    task: str
    dataset: str
    found: Survey
    classes: list[str]

    def smallest(self) -> int:
        """Return the training images of the smallest class, after a test part is drawn."""
        files = [file for file in self.found.files if file.class_name in self.classes]
        counts = Counter(file.class_name for file in files if file.part in (None, "train"))
        share = 0.8 if files[0].part is None else 1.0
        return int(min(counts.values()) * share)


def start(request: Request, params: Path, *, timing: bool = True) -> str:
    """Write a params file made for a folder of images; return what it holds and what the study takes.

    Raises:
        TaskError: images that cannot be used; nothing is written then.
        ParamsError: too few classes or images of a class, or a network that cannot be had.
    """
    found = survey(request.folder, request.background)
    other = survey(request.target, request.background) if request.target else None
    source, target = _chosen(found, other, given=request.given)
    raw = _params(request, source, target)
    notes = _give(raw, request, params) if request.given else []
    plan = Plan(parse(raw, params))
    said = [f"{request.folder}:", *found.lines(), ""]
    if other:
        said += [f"{request.target}:", *other.lines(), *_shared(found, other), ""]
    said += [f"{each.task}: {', '.join(each.classes)}" for each in (source, target)]
    said += [*notes, "", plan_text(plan, timing=timing), *(_time(plan, raw) if timing else ())]
    return "\n".join([*said, "", _write(raw, params, request.folder)])


def _chosen(found: Survey, other: Survey | None, *, given: bool) -> tuple[Chosen, Chosen]:
    """Return source and target: two folders, or the classes of one, drawn by their names.

    Of a given network both are all classes of one folder: nothing is trained on the source.
    """
    if given and not other:
        source, target = (
            Chosen(task, "photos", found, found.classes) for task in ("source", "target")
        )
        both = source, target
    elif other:
        both = (
            Chosen("source", "photos", found, found.classes),
            Chosen("target", "target_photos", other, other.classes),
        )
    else:
        names = found.classes
        seed = derive_seed("source and target classes", *names)
        order = np.random.default_rng(seed).permutation(len(names))
        number = max(SMALLEST_TASK, round(TARGET_SHARE * len(names)))
        parts = (order[number:], order[:number])
        both = tuple(  # type: ignore[assignment]
            Chosen(task, "photos", found, [names[each] for each in sorted(part)])
            for task, part in zip(("source", "target"), parts, strict=True)
        )
    for each in both:
        _check(each, split=other is None and not given)
    return both


def _check(chosen: Chosen, *, split: bool) -> None:
    folder = chosen.found.listing.folder
    if len(chosen.classes) < SMALLEST_TASK:
        more = "; or give other images with --target" if split else ""
        fewest = f"{2 * SMALLEST_TASK} are" if split else f"{SMALLEST_TASK} are"
        raise ParamsError(
            f"start: {folder}: classes: {len(chosen.found.classes)} are there, {fewest} needed{more}"
        )
    if split and "all" in chosen.classes:
        raise ParamsError(
            f"start: {folder}: the class 'all' cannot be chosen alone; rename its folder"
        )
    counts = Counter(file.class_name for file in chosen.found.files)
    few = [name for name in chosen.classes if counts[name] < FEWEST_IMAGES]
    if few or chosen.smallest() < SMALLEST_TASK:
        name = few[0] if few else min(chosen.classes, key=lambda each: counts[each])
        raise ParamsError(
            f"start: {folder}: {counts[name]} images of class {name!r} leave too few to train, validate and "
            "test on; add some, or move its folder elsewhere"
        )


def _params(request: Request, source: Chosen, target: Chosen) -> dict[str, Any]:
    """Return the preset for folders, with these images, classes and this network."""
    raw = presets.read(presets.find(PRESET))
    raw["datasets"] = _datasets(request, source, target)
    (shape,) = {(each["channels"], each["size"]) for each in raw["datasets"].values()}
    name, model = _model(request.model, raw["models"])
    network = _built(model, *shape)
    recipe = RECIPES[bool(batch_norms(network))]
    raw["models"] = {name: model}
    (pretrain,) = raw["pretrain"].values()
    (arms,) = raw["transfer"].values()
    images = source.smallest() * len(source.classes)
    batch = 128 if images >= EPOCH else 32
    repeats = {"repeats": -(-EPOCH // images)} if images < EPOCH else {}
    pretrain = pretrain | {"sources": ["source"], "batch_size": batch} | repeats
    shift = {"shift": max(1, shape[1] // 8), "flip": True}
    raw["pretrain"] = {name: pretrain | {"augmentation": shift} | recipe["pretrain"]}
    shots = min(MOST_SHOTS, target.smallest() - _validation(target))
    learning = {"shots": [shots], "targets": ["target"], "learning_rates": recipe["rates"]}
    if sum(weight.numel() for weight in network.parameters()) >= LARGE:
        learning["slots"] = None
    raw["transfer"] = {name: {"finetune": arms["finetune"] | learning | recipe["finetune"]}}
    raw["tasks"] = {
        each.task: {
            "dataset": each.dataset,
            "classes": each.classes,
            "validation_per_class": _validation(each),
        }
        for each in (source, target)
    }
    raw["statistics"]["primary"] |= {
        "source": "source",
        "target": "target",
        "model": name,
        "shots": shots,
    }
    return raw


def _validation(chosen: Chosen) -> int:
    return max(1, min(MOST_VALIDATION, chosen.smallest() // 5))


def _give(raw: dict[str, Any], request: Request, params: Path) -> list[str]:
    """Put given weights in place of pre-training, and beside the model the same one from scratch.

    Returns what was done to the weights, a line each.
    """
    ((name, model),) = raw["models"].items()
    arm = raw["transfer"][name]["finetune"] | {"source_epochs": [0], "nested_draws": True}
    # A network that knows much is easily spoilt.
    arm["learning_rates"] = [*arm["learning_rates"], arm["learning_rates"][-1] / 5]
    pretrain = {key: raw["pretrain"][name][key] for key in ("sources", "seeds")}
    names = (name, f"{name}{SCRATCH}")
    raw["models"] = dict.fromkeys(names, model)
    raw["pretrain"] = dict.fromkeys(names, pretrain | {"epochs": 0, "learning_rate": 0.1})
    raw["transfer"] = {each: {"finetune": arm} for each in names}
    raw["plasticity"] = {"enabled": False}
    parsed = parse(raw, params)
    if request.weights:
        entry, notes = add_weights(parsed, name, request.weights)
    else:
        entry, notes = published_weights(parsed.models[name]), []
    raw["models"] = {name: model | {"weights": entry}, names[1]: model}
    return [f"weights: {note}" for note in notes]


def _datasets(request: Request, source: Chosen, target: Chosen) -> dict[str, Any]:
    facts = [fact for each in (source, target) for fact in each.found.facts]
    side = int(statistics.median(min(fact.size) for fact in facts))
    shape = {
        "size": request.size or max(8, min(SIDE, side)),
        "channels": 1 if all(fact.grey for fact in facts) else 3,
    }
    background = {"background": request.background} if request.background else {}
    return {
        each.dataset: {
            "kind": "image_folder",
            "path": str(each.found.listing.folder),
            "sha256": each.found.content_hash(),
            **shape,
            **background,
        }
        for each in ((source,) if source.dataset == target.dataset else (source, target))
    }


def _model(name: str, known: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a model of the preset, of a file or of timm, under a name that params may have."""
    if name in known:
        return name, known[name]
    model: dict[str, Any] = {"kind": "timm", "name": name}
    if OWN.search(name):
        path, _, function = name.partition(".py")
        path, function = f"{path}.py", function.removeprefix(":")
        if not function:
            raise ParamsError(
                f"start: --model: name the function that makes the network: {path}:build"
            )
        sha256 = read_source(Path(path)).sha256
        name = Path(path).stem
        model = {"kind": "file", "path": path, "function": function, "sha256": sha256}
    key = re.sub(r"[^a-z0-9_]", "_", name.lower())
    return key if key[:1].isalpha() else f"m_{key}", model


def _built(model: dict[str, Any], channels: int, size: int) -> Network:
    raw = presets.read(presets.find(PRESET))
    given = parse(raw | {"models": raw["models"] | {"given": model}}).models["given"]
    try:
        return build(given, channels, size, classes=2, seed=0)
    except ValueError as error:
        other = ", or give another --size" if "cannot take" in str(error) else ""
        raise ParamsError(f"start: --model: {error}{other}") from None


def _shared(found: Survey, other: Survey) -> list[str]:
    known = {fact.digest for fact in found.facts}
    both = [
        file for file, fact in zip(other.files, other.facts, strict=True) if fact.digest in known
    ]
    if not both:
        return []
    return [
        f"{len(both):,} of these images are in {found.listing.folder} too, such as {both[0].path}; the "
        "target is then no new task for them: remove them from one folder"
    ]


def _time(plan: Plan, raw: dict[str, Any]) -> Iterator[str]:
    """Say how long the study takes on this machine, and which values shorten it by how much."""
    try:
        device = choose_device(plan.params.runtime.device, locks=STORE / "devices")
    except TrainingError:
        return
    estimate = Estimate(plan, device)
    hours, at_once = estimate.hours(), 1
    if device.type == "cpu":
        at_once = len(os.sched_getaffinity(0))
    yield f"About {_duration(hours / at_once)}, {at_once} job{'s' * (at_once > 1)} at a time. Shorter with:"
    saved = []
    for what, changed in _shorter(raw):
        shorter = Estimate(Plan(parse(changed)), device, estimate.timed)
        # Networks of one size only take no smaller images.
        with suppress(NetworkError):
            saved.append((1 - shorter.hours() / hours, what))
    yield from (
        f"  {what}: {share:.0%} less" for share, what in sorted(saved)[::-1] if share > WORTH
    )


def _shorter(raw: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield values that make the study shorter, and the params with them."""
    pretrain = next(iter(raw["pretrain"].values()))
    arm = next(iter(raw["transfer"].values()))["finetune"]

    def with_arm(name: str, value: Any) -> tuple[str, dict[str, Any]]:
        changed = {model: {"finetune": arm | {name: value}} for model in raw["models"]}
        places = [f"transfer.{model}.finetune.{name}" for model in raw["models"]]
        return _assign(places, value), raw | {"transfer": changed}

    plasticity = raw["plasticity"] | {"enabled": False}
    yield _assign(["plasticity.enabled"], "false"), raw | {"plasticity": plasticity}
    yield with_arm("epochs", arm["epochs"] // 2)
    yield with_arm("draws", arm["draws"][:1])
    # Fewer networks than a test needs decide nothing, however long they train.
    seeds = pretrain["seeds"][: max(seeds_needed(), -(-len(pretrain["seeds"]) // 2))]
    few = {model: each | {"seeds": seeds} for model, each in raw["pretrain"].items()}
    places = [f"pretrain.{model}.seeds" for model in raw["pretrain"]]
    yield f"{_assign(places, seeds)} (wider intervals)", raw | {"pretrain": few}
    size = next(iter(raw["datasets"].values()))["size"] // 2
    if size >= SMALLEST_SIDE:
        small = {name: each | {"size": size} for name, each in raw["datasets"].items()}
        yield _assign([f"datasets.{name}.size" for name in small], size), raw | {"datasets": small}


def _assign(places: list[str], value: Any) -> str:
    """Return the command that gives several places of the params one value."""
    text = str(value).replace(" ", "")
    return " ".join(["headstart set", *(f"{place}={text}" for place in places)])


def _duration(hours: float) -> str:
    minutes = max(1, round(60 * hours))
    return f"{hours:.1f} hours" if hours >= 1 else f"{minutes} minute{'s' * (minutes > 1)}"


def _write(raw: dict[str, Any], params: Path, folder: Path) -> str:
    """Write the params file, and the workflow where there is none; return what is next."""
    said = []
    if not (params.parent / "Snakefile").exists():
        project.lay_down(params.parent)
        said.append("wrote the workflow: Snakefile, workflow, profiles, dvc.yaml")
    if params.exists():
        said.append(f"the earlier file is kept as {snapshot(params)}")
    head = f"# A study of the images in {shown(folder)}, by `headstart start`.\n\n"
    write_atomically(params, (head + presets.text_of(raw)).encode())
    return "\n".join([*said, f"wrote {params}; run `snakemake --cores all`, then open report.html"])
