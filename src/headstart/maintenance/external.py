"""What lies outside the project enters its keys by content: `headstart data add` writes the sha256."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from headstart.artifacts.files import file_sha256
from headstart.maintenance.edit_params import Document, plain
from headstart.maintenance.weight_options import NOTHING_SAID, WeightOptions
from headstart.params.core import CoreParams
from headstart.params.datasets import Fonts, Glyphs
from headstart.params.reading import ParamsError
from headstart.registry import load

# In place of a path: the weights that timm publishes under the model's name and tag.
TIMM = "timm"
# Before the name of an installed Python package that holds a file of weights.
PACKAGE = "package:"


def add(
    name: str, path: str, size: int | None, params: Path, options: WeightOptions = NOTHING_SAID
) -> str:
    """Write images, typefaces, a weights file or a network file into the params file, with the sha256.

    Comments and order of the file stay. Returns what was written, and what is to be said of images.
    """
    file, _, function = path.partition(":")
    package = path.startswith(PACKAGE)
    there = Path(path).exists() or Path(file).exists()
    if path != TIMM and not package and not there:
        raise ParamsError(f"data add: {file}: no such file or folder")
    loaded = load(params)
    said, notes = list[str](), list[str]()
    edited = Document(params)
    document = edited.content
    kind = document["datasets"].get(name, {}).get("kind")
    if kind == "glyphs" and (Path(path).is_dir() or (package and name not in document["models"])):
        where, said = f"datasets.{name}.fonts", _fonts(document, loaded, name, path)
        entry = document["datasets"][name]["fonts"]
    elif Path(path).is_dir():
        where = f"datasets.{name}"
        entry, said = _folder(document, name, path, size)
    elif file.endswith(".py"):
        where, entry = f"models.{name}", _network(document, name, file, function)
    else:
        where = f"models.{name}.weights"
        entry, notes = _weights(document, loaded, name, path, options)
    edited.write()
    return "\n".join([*said, f"{params}: {where} = {entry}", *(f"  {note}" for note in notes)])


def _folder(
    document: Any, name: str, folder: str, size: int | None
) -> tuple[dict[str, Any], list[str]]:
    # Not at the top: the other uses of this command need no image library.
    from headstart.tasks.build import check_groups
    from headstart.tasks.image_survey import survey

    entry = document["datasets"].get(name)
    if entry is None:
        if size is None:
            raise ParamsError(
                f"data add: datasets.{name} is new: give the side of its images, such as --size 32"
            )
        entry = document["datasets"][name] = {"kind": "image_folder", "path": folder}
    elif entry.get("kind") != "image_folder":
        raise ParamsError(
            f"data add: datasets.{name} is of kind {entry.get('kind')!r}, not image_folder"
        )
    found = survey(Path(folder), entry.get("background"))
    check_groups(f"datasets.{name}.groups", found.classes, plain(entry.get("groups", {})))
    entry["path"] = folder
    entry["size"] = size or entry["size"]
    entry["sha256"] = found.content_hash()
    return dict(entry), found.lines()


def _fonts(document: Any, loaded: CoreParams, name: str, path: str) -> list[str]:
    """Note typefaces of a folder or package; return which letters they draw, a line for each alphabet."""
    # Not at the top: the other uses of this command need no image library.
    from headstart.tasks.typefaces import content_hash, lettering

    package = path.removeprefix(PACKAGE) if path.startswith(PACKAGE) else None
    fonts = Fonts(package=package) if package else Fonts(path=path)
    dataset = loaded.datasets[name].model_copy(update={"fonts": fonts})
    key = f"datasets.{name}.fonts"
    lines = lettering(cast(Glyphs, dataset), key).lines()
    place = {"package": package} if package else {"path": path}
    document["datasets"][name]["fonts"] = place | {"sha256": content_hash(fonts, key)}
    return list(lines)


def _network(document: Any, name: str, file: str, function: str) -> dict[str, Any]:
    if not function:
        raise ParamsError(f"data add: name the function that makes the network: {file}:build")
    # Not at the top: the other uses of this command need no torch.
    from headstart.networks.own import read_source

    entry = document["models"].get(name, {})
    if entry.get("kind") != "file":
        entry = document["models"][name] = {"kind": "file"}
    entry.update({"path": file, "function": function, "sha256": read_source(Path(file)).sha256})
    return dict(entry)


def _weights(
    document: Any, loaded: CoreParams, name: str, file: str, options: WeightOptions
) -> tuple[dict[str, Any], list[str]]:
    if name not in document["models"]:
        known = ", ".join(document["models"])
        raise ParamsError(f"data add: models.{name} does not exist; known are {known}")
    model = document["models"][name]
    # What is known of the weights at hand stays.
    given = model.get("weights") or {}
    kept = {option: given[option] for option in ("in_order", "pixels") if option in given}
    if pixels := options.pixels():
        kept["pixels"] = pixels
    if file.startswith(PACKAGE):
        # Not at the top: the other uses of this command need no torch.
        from headstart.networks.weights import file_of

        package = file.removeprefix(PACKAGE)
        found = {"package": package, "sha256": file_sha256(file_of(package))}
        model["weights"] = found | kept
        return dict(model["weights"]), []
    if file != TIMM and kept.get("in_order"):
        model["weights"] = {"path": file, "sha256": file_sha256(Path(file))} | kept
        return dict(model["weights"]), []
    if file != TIMM:
        # Not at the top: the other uses of this command need no torch.
        from headstart.maintenance.given_weights import add_weights

        entry, notes = add_weights(loaded, name, Path(file), options.part)
        model["weights"] = entry | kept
        return dict(model["weights"]), notes[: -1 if kept.get("pixels") else None]
    if model.get("kind") != "timm":
        raise ParamsError(f"data add: models.{name} is of kind {model.get('kind')!r}, not timm")
    # Not at the top: only this command needs torch.
    from headstart.maintenance.given_weights import published_weights

    model["weights"] = published_weights(loaded.models[name]) | kept
    return dict(model["weights"]), []
