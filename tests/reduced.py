"""Any preset, made so small that all of it runs in seconds: a few letters, tiny networks, two epochs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from headstart.maintenance import presets
from headstart.params.types import complete
from headstart.registry import STEPS, STUDIES, parse
from headstart.steps.check import Facts, _network_problems

LETTERS = [*"CDFGIJLNQRSUVWYZ"]
CLASSES = 3
SHOTS = 2
MODELS = {"wrn": {"depth": 10, "width": 1}, "convnet": {"width": 2}}
TRANSFORMER = {"patch_size": 6, "embed_dim": 8, "depth": 3, "num_heads": 2}


def read(preset: str) -> dict[str, Any]:
    """Return what stands in a preset."""
    return presets.read(presets.find(preset)) | {"expected": {}}


def write(raw: dict[str, Any], path: Path) -> Path:
    """Write a params file."""
    YAML(typ="safe", pure=True).dump(raw, path)
    return path


def network_problems(raw: dict[str, Any], shape: tuple[int, int, int]) -> list[str]:
    """Return what the step `check` says of the networks of a params file, on images of one shape."""
    params = parse(raw)
    sections = {name: complete(params.section(name)) for name in STEPS["check"].sections}
    studies = [importlib.import_module(study.checks) for study in STUDIES if study.checks]
    facts = Facts(params, {}, dict.fromkeys(raw["datasets"], shape))
    return _network_problems(sections, facts, studies)


def reduced(raw: dict[str, Any]) -> dict[str, Any]:
    """Return params with the same models, arms and options, and next to no work in them.

    Every dataset becomes letters of 12 x 12 pixels; tasks with the same classes keep having the same,
    and other tasks get others. Every list of the grid keeps its first value, and checkpoints are the
    first, the last and `best`.
    """
    letters = {"kind": "glyphs", "size": 12, "train_per_class": 12, "test_per_class": 3}
    small = {
        **raw,
        "datasets": dict.fromkeys(raw["datasets"], letters | {"alphabets": ["latin"]}),
        "tasks": _tasks(raw["tasks"]),
        "models": {name: _model(model) for name, model in raw["models"].items()},
        "pretrain": {name: _pretrain(part) for name, part in raw["pretrain"].items()},
        "runtime": {"device": "cpu"},
        "plasticity": {"enabled": False},
        "scores": {"enabled": False},
    }
    if "statistics" in raw:
        primary = raw["statistics"]["primary"] | {"shots": SHOTS}
        small["statistics"] = raw["statistics"] | {"primary": primary}
    small["trajectory"] = {
        model: {arm: _trajectory(part) for arm, part in arms.items()}
        for model, arms in raw.get("trajectory", {}).items()
    }
    small["knowledge"] = {
        model: _knowledge(part) for model, part in raw.get("knowledge", {}).items()
    }
    small["invariance"] = {
        model: _invariance(part) for model, part in raw.get("invariance", {}).items()
    }
    # Its starts are more than a reduced pre-training keeps.
    small["joined"] = {}
    small["transfer"] = {
        model: {arm: _transfer(part) for arm, part in arms.items()}
        for model, arms in raw.get("transfer", {}).items()
    }
    return small


def _model(model: dict[str, Any]) -> dict[str, Any]:
    """Return a tiny model: timm's transformers stay timm's, its convolutional ones become `convnet`.

    Given weights are left out; a test that needs some writes its own.
    """
    if model["kind"] != "timm":
        return {**model, **MODELS.get(model["kind"], {})}
    if model["name"].startswith("vit"):
        return {"kind": "timm", "name": "vit_tiny_patch16_224", "kwargs": TRANSFORMER}
    return {"kind": "convnet", **MODELS["convnet"]}


def _tasks(tasks: dict[str, Any]) -> dict[str, Any]:
    choices = list(dict.fromkeys(str(task.get("classes")) for task in tasks.values()))
    small = {}
    for name, task in tasks.items():
        first = CLASSES * choices.index(str(task.get("classes")))
        classes = LETTERS[first : first + CLASSES]
        small[name] = {"dataset": task["dataset"], "classes": classes, "validation_per_class": 3}
        if "train_per_class" in task:
            small[name]["train_per_class"] = 4
    return small


def _training(part: dict[str, Any]) -> dict[str, Any]:
    small = {**part, "epochs": 2, "batch_size": 16}
    small.pop("precision", None)
    if isinstance(small.get("test_epochs"), list):
        small["test_epochs"] = [epoch for epoch in small["test_epochs"] if epoch <= 2]
    schedule = dict(part.get("schedule", {}))
    schedule.update({"drops": [1]} if "drops" in schedule else {})
    schedule.update({"warmup_epochs": 1} if "warmup_epochs" in schedule else {})
    return {**small, "schedule": schedule}


def _pretrain(part: dict[str, Any]) -> dict[str, Any]:
    checkpoints = {"log_spaced": False, "around_drops": None}
    small = {**_training(part), "seeds": part["seeds"][:1], "checkpoints": checkpoints}
    return small | ({} if part["epochs"] else {"epochs": 0})


def _transfer(part: dict[str, Any]) -> dict[str, Any]:
    grid = {name: part[name][:1] for name in ("draws", "learning_rates")}
    # Of further grids only the targets of their own are left.
    also = [{"targets": one["targets"]} for one in part.get("also", ()) if "targets" in one]
    small = {**_training(part), **grid, "shots": [SHOTS], "source_epochs": [0, 2, "best"]}
    return small | ({"also": also} if also else {})


def _trajectory(part: dict[str, Any]) -> dict[str, Any]:
    small = {**_training(part), "source_epochs": _starts(part["source_epochs"]), "seeds": []}
    return small | {"targets": part["targets"][:1], "target_epochs": [1], "shots": "all"}


def _starts(epochs: list[int | str]) -> list[int | str]:
    """Return starts that a reduced pre-training keeps: 0, 2, `best` and `last`."""
    kept = [epoch if isinstance(epoch, str) else 2 * bool(epoch) for epoch in epochs]
    return list(dict.fromkeys(kept))


def _knowledge(part: dict[str, Any]) -> dict[str, Any]:
    starts = {"followed": _starts(part["followed"])} if "followed" in part else {}
    roles = ("finetuned", "second", "probe", "scratch", "random_probe", "and_or")
    small = {name: part[name] for name in roles if name in part} | starts
    players = {"kind": "grid", "rows": 2, "columns": 2}
    return small | {"images": 6, "players": players, "permutations": 2, "resamples": 10}


def _invariance(part: dict[str, Any]) -> dict[str, Any]:
    inversions = part["inversions"] | {"images": 8, "seeds": [0], "optimizer": {"steps": 2}}
    small = {**part, "inversions": inversions, "components": 2, "resamples": 4}
    if "dynamics" in part:
        small["dynamics"] = part["dynamics"] | {"epochs": [1, 2]}
    if "robustness" in part:
        names = part["robustness"]["corruptions"][:2]
        small["robustness"] = {"corruptions": names, "severities": [1, 5], "images": 6}
    return small
