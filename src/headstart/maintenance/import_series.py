"""`headstart import`: the checkpoints of runs that were trained elsewhere become source networks of the study."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from headstart.artifacts.files import file_sha256, write_atomically
from headstart.maintenance.edit_params import Document
from headstart.maintenance.given_weights import (
    FOLDER,
    image_shape,
    pixel_words,
    stated_pixels,
)
from headstart.maintenance.weight_options import NOTHING_SAID, WeightOptions
from headstart.networks.build import build
from headstart.networks.layouts import Found, read_content
from headstart.networks.network import Network
from headstart.networks.timm_models import published_state
from headstart.networks.weights import load_content
from headstart.params.models import Model
from headstart.params.reading import ParamsError
from headstart.registry import load
from headstart.steps.given_series import series_problems

SUFFIXES = (".safetensors", ".pt", ".pth", ".tar", ".ckpt", ".bin")
# Files of a saver that repeat the weights of an epoch that has a file of its own.
REPEATS = re.compile(r"(last|final|latest|best|model_best)$")
Source = Path | str


@dataclass(frozen=True)
class Request:
    """What a person asks for: epochs as trained, the model, the source, and how pixels were normalised."""

    epochs: tuple[int, ...] = ()
    model: str | None = None
    source: str | None = None
    options: WeightOptions = NOTHING_SAID


def import_series(runs: Sequence[str], request: Request, params: Path) -> str:
    """Convert checkpoints to `weights/`, name them in the params file, and return what was done.

    Every folder is a run, a source network of its own; files, patterns and timm tags together are one.

    Raises:
        ParamsError: no checkpoints, or not as many epochs as checkpoints.
        NetworkError: a checkpoint cannot be read safely, or is of another network.
    """
    loaded = load(params)
    name = _only("models", request.model, loaded.models)
    pretrain = loaded.pretrain.get(name)
    known = list(pretrain.sources) if pretrain else list(loaded.tasks)
    source = _only("tasks", request.source, dict.fromkeys(known))
    model = loaded.models[name].model_copy(update={"weights": None})
    shape = image_shape(loaded, name)
    series: dict[int, list[dict[str, Any]]] = {}
    lines: list[str] = []
    first: Source = ""
    for seed, files in enumerate(_runs(runs)):
        dated = _dated(files, request.epochs)
        first = first or dated[0][1]
        entries, notes = _convert(dated, name, seed, model, shape, request.options.part)
        series[seed] = entries
        epochs = ", ".join(str(epoch) for epoch, _ in dated)
        lines += [f"run {seed}: epochs {epochs}", *(f"  {note}" for note in notes)]
    entry: dict[str, Any] = {"sources": [source], "seeds": list(series), "series": series}
    pixels = request.options.pixels() or _stated(model, first)
    if pixels:
        entry["normalization"] = pixels
        lines.append(f"pixels: {pixel_words(pixels)}")
    else:
        lines.append("nothing states how pixels were normalised: `--mean` and `--deviation` do")
    document = Document(params)
    document.replace(("pretrain", name), entry)
    kept = set.intersection(*({each["epoch"] for each in run} for run in series.values()))
    lines += _start_from(document, name, sorted({0, *kept}))
    document.write()
    if len(series) == 1:
        lines.append(
            "one run is one source network: verdicts speak of this network alone, and need six draws of the "
            f"target: `headstart set transfer.{name}.finetune.draws='[0, 1, 2, 3, 4, 5]'`"
        )
    return "\n".join(
        [f"{params}: pretrain.{name}.series has {len(series)} run{'s' * (len(series) > 1)}", *lines]
    )


def _start_from(document: Document, model: str, kept: Sequence[int]) -> Iterator[str]:
    """Let arms start from the epochs of the runs, where they named epochs that these do not have."""
    for section in ("transfer", "trajectory"):
        for arm, part in ((document.content.get(section) or {}).get(model) or {}).items():
            for grid in (part, *(part.get("also") or ())):
                asked = [each for each in grid.get("source_epochs", ()) if isinstance(each, int)]
                if not set(asked) <= set(kept):
                    grid["source_epochs"] = [*kept, "best"]
                    yield f"{section}.{model}.{arm}.source_epochs: {[*kept, 'best']}, those of the run"


def _only(section: str, named: str | None, known: Iterable[str]) -> str:
    names = list(known)
    if named is None and len(names) == 1:
        return names[0]
    option = {"models": "--model", "tasks": "--source"}[section]
    if named not in names:
        raise ParamsError(
            f"import: {option}: name one of `{section}`: {', '.join(names) or 'none'}"
        )
    return str(named)


def _runs(named: Sequence[str]) -> list[list[Source]]:
    """Return the checkpoints of every run, in the order of their numbers."""
    folders: list[list[Source]] = []
    files: list[Source] = []
    for name in named:
        found = [Path(each) for each in glob.glob(name)] if glob.has_magic(name) else [Path(name)]
        for path in sorted(found, key=_order):
            if path.is_dir():
                inside = [each for each in path.iterdir() if each.name.endswith(SUFFIXES)]
                if not inside:
                    raise ParamsError(
                        f"import: {path}: no checkpoints; they end in {', '.join(SUFFIXES)}"
                    )
                folders.append([*sorted(inside, key=_order)])
            elif path.is_file():
                files.append(path)
            elif "." in name and "/" not in name and not name.endswith(SUFFIXES):
                files.append(name)
            else:
                raise ParamsError(f"import: {name}: no such file or folder, and no tag of timm")
    if not folders and not files:
        raise ParamsError(f"import: {' '.join(named)}: fits no file")
    return folders + ([files] if files else [])


def _stem(source: Source) -> str:
    name = source.name if isinstance(source, Path) else source
    while isinstance(source, Path) and name.endswith(SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def _order(path: Path) -> tuple[list[int], str]:
    return [int(each) for each in re.findall(r"\d+", _stem(path))], path.name


def _dated(files: list[Source], requested: tuple[int, ...]) -> list[tuple[int, Source]]:
    """Give every checkpoint its epoch: as requested, or as its own name and content say."""
    epochs = {file: _epoch(file) for file in files}
    own = {file: each for file, each in epochs.items() if each is not None}
    if requested and len(requested) == len(files) and set(requested) != set(own.values()):
        return sorted(zip(requested, files, strict=True), key=lambda pair: pair[0])
    numbered: dict[int, Source] = {}
    for file, epoch in own.items():
        if epoch in numbered and REPEATS.search(_stem(file)):
            continue
        numbered[epoch] = file
    chosen = requested or tuple(sorted(numbered))
    missing = [epoch for epoch in chosen if epoch not in numbered]
    if missing or not chosen:
        names = ", ".join(_stem(file) for file in files[:8])
        raise ParamsError(
            f"import: --epochs {' '.join(map(str, requested))}: the {len(files)} checkpoints ({names}) are of "
            f"epochs {sorted(numbered) or 'unknown'}; give as many epochs as checkpoints, in their order"
        )
    return [(epoch, numbered[epoch]) for epoch in sorted(chosen)]


def _epoch(source: Source) -> int | None:
    """Return how many epochs a checkpoint was trained: of timm's and Lightning's savers one more than they say."""
    if not isinstance(source, Path):
        return None
    said, names = _said(source)
    if said is not None:
        return said + bool(names & {"arch", "pytorch-lightning_version"})
    numbers = re.findall(r"\d+", _stem(source))
    return int(numbers[-1]) if numbers else None


def _said(file: Path) -> tuple[int | None, frozenset[str]]:
    """Return the epoch that a saver wrote into a checkpoint, and the names of all that it wrote."""
    content = {} if file.suffix == ".safetensors" else read_content(file)
    if not isinstance(content, dict):
        return None, frozenset()
    epoch = content.get("epoch")
    whole = isinstance(epoch, int) and not isinstance(epoch, bool)
    return (epoch if whole else None), frozenset(map(str, content))


def _convert(
    dated: list[tuple[int, Source]],
    name: str,
    seed: int,
    model: Model,
    shape: tuple[int, int],
    part: str | None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write one safetensors file per checkpoint; return their entries, and what was done to them."""
    entries, notes, states = (
        list[dict[str, Any]](),
        dict[str, None](),
        dict[int, dict[str, Tensor]](),
    )
    for epoch, source in dated:
        network = build(model, *shape, 2, seed=0)
        content = read_content(source) if isinstance(source, Path) else published_state(source)
        found = load_content(network, content, model, shape[0], str(source), part)
        state = {k: v for k, v in network.state_dict().items() if k.startswith("backbone.")}
        layer, head = _head(found, network)
        states[epoch] = state | head
        path = FOLDER / name / f"seed{seed}" / f"epoch-{epoch:04d}.safetensors"
        tensors = {k: v.contiguous().clone() for k, v in states[epoch].items()}
        write_atomically(path, save(tensors))
        entries.append({"epoch": epoch, "path": str(path), "sha256": file_sha256(path)})
        notes |= dict.fromkeys([*found.notes, *([f"{layer!r} is its head"] if layer else [])])
    headless = [epoch for epoch in states if "head.weight" not in states[epoch]]
    if headless:
        notes[
            f"no head is known of epochs {headless}: their accuracy on the source is not read"
        ] = None
    problems = [f"BEWARE: {problem}" for problem in series_problems(states)]
    return entries, [*notes, *problems]


def _head(found: Found, network: Network) -> tuple[str, dict[str, Tensor]]:
    """Return name and tensors of a checkpoint's classifier, where it has just one that fits the features."""
    own, features = network.backbone.state_dict(), network.feature_dimension
    rest = {k: v for k, v in {**found.beside, **found.state}.items() if k not in own}
    fits = [k for k, v in rest.items() if k.endswith("weight") and v.ndim == 2]
    fits = [k for k in fits if rest[k].shape[1] == features]
    if len(fits) != 1:
        return "", {}
    layer, weight = fits[0].rpartition(".")[0], rest[fits[0]].float()
    bias = rest.get(f"{layer}.bias", torch.zeros(len(weight))).float()
    return layer, {"head.weight": weight, "head.bias": bias}


def _stated(model: Model, first: Source) -> dict[str, Any] | None:
    """Return how the pixels of a run were normalised: as its files say, or timm for its own training."""
    if isinstance(first, Path):
        return stated_pixels(model if "arch" in _said(first)[1] else None, first)
    return stated_pixels(model.model_copy(update={"name": first}), None)
