"""Presets: a complete params file, or what differs from a base.

`base: NAME` at the top names another preset or a file of `presets/base/`, or a list of them. In an entry it
names another entry of the section, so that models and arms say only what differs between them.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from headstart.artifacts.files import shared, write_atomically
from headstart.maintenance.housekeeping import snapshot
from headstart.params.reading import ParamsError, read_yaml
from headstart.registry import Params, parse

PRESETS = shared("presets")
BASE = "base"
# A leaf mapping or list that is shorter stands on one line.
ONE_LINE = 90


def use(preset: str, params: Path) -> str:
    """Replace the params file by a preset, or by a file of overrides; return what was done."""
    source = find(preset)
    text = complete_text(source)
    said = ""
    if params.exists() and params.read_text(encoding="utf-8") != text:
        said = f"\nthe earlier file is kept as {snapshot(params)}"
    write_atomically(params, text.encode())
    return f"{params} is now the preset {preset!r}; run `snakemake --cores all`{said}"


def find(preset: str, command: str = "use") -> Path:
    """Return the file of a preset by its name, or the file of overrides at this path.

    Raises:
        ParamsError: there is neither.
    """
    known = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if preset in known:
        return known[preset]
    if preset.endswith((".yaml", ".yml")) and Path(preset).is_file():
        return Path(preset)
    raise ParamsError(f"{command}: {preset!r} is no preset; known are {', '.join(known)}")


def complete_text(source: Path) -> str:
    """Return the complete params file of a preset: its own text, or its comment and what it merges to."""
    merged = read(source)
    parse(merged, source)
    text = source.read_text(encoding="utf-8")
    if merged == read_yaml(source):
        return text
    head = "".join(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines(True)))
    return "\n".join([head, text_of(merged)])


def text_of(params: Mapping[str, Any]) -> str:
    """Return params as a file has them, section by section."""
    order = [name for name in Params.model_fields if name in params]
    return "\n".join(_dumped({name: params[name]}) for name in order)


def read(source: Path) -> dict[str, Any]:
    """Return the params of a preset: its overrides merged into its bases, entries filled in.

    Raises:
        ParamsError: a base does not exist, or something is its own base.
    """
    merged = _merged(source, source.stem, ())
    return {
        name: _filled(Place(source, section, section), section, ())
        for name, section in merged.items()
    }


def _merged(source: Path, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """Return what stands in a preset, over its bases in their order."""
    own = read_yaml(source)
    bases = own.pop(BASE, [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        path = next((path for path in _files(base) if path.is_file()), None)
        if base in (*seen, name):
            raise ParamsError(f"{source}: base: {' -> '.join([*seen, name, base])} is a circle")
        if path is None:
            known = ", ".join(sorted(path.stem for path in PRESETS.rglob("*.yaml")))
            raise ParamsError(f"{source}: base: {base!r} is no preset; known are {known}")
        merged = merge(merged, _merged(path, base, (*seen, name)))
    # Published numbers are of one preset alone.
    merged.pop("expected", None)
    return merge(merged, own)


def _files(name: object) -> tuple[Path, Path]:
    return PRESETS / f"{name}.yaml", PRESETS / "base" / f"{name}.yaml"


class Place(NamedTuple):
    """Where an entry stands: the file, the section, and the mapping that holds the entry."""

    source: Path
    section: Any
    beside: Any


def _filled(place: Place, entry: Any, seen: tuple[str, ...]) -> Any:
    """Return an entry in which `base: NAME` became the entry of that name, under its own values.

    `NAME` stands beside the entry; `model.arm` is looked for from the top of the section.
    """
    if not isinstance(entry, Mapping):
        return entry
    if isinstance(base := entry.get(BASE), str):
        *parents, name = base.split(".")
        beside = place.section if parents else place.beside
        for parent in parents:
            beside = beside.get(parent, {})
        if base in seen:
            raise ParamsError(f"{place.source}: base: {' -> '.join([*seen, base])} is a circle")
        if name not in beside:
            raise ParamsError(f"{place.source}: base: there is no entry {base!r} to start from")
        start = _filled(place._replace(beside=beside), beside[name], (*seen, base))
        entry = merge(start, {key: value for key, value in entry.items() if key != BASE})
    inner = place._replace(beside=entry)
    return {
        # What a network is built with is its own business.
        key: each if key == "kwargs" else _filled(inner, each, seen)
        for key, each in entry.items()
    }


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with overrides: mappings merge, other values replace, null takes an entry away."""
    merged = dict(base)
    for name, value in overrides.items():
        if value is None and name in merged:
            del merged[name]
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = merge(merged[name], value)
        else:
            merged[name] = value
    return merged


def _dumped(value: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 110
    yaml.representer.ignore_aliases = lambda _: True
    stream = io.StringIO()
    yaml.dump(_styled(value), stream)
    return stream.getvalue()


def _styled(value: Any) -> Any:
    """Return a value in which short leaves stand on one line."""
    if isinstance(value, list | tuple):
        listed = CommentedSeq(value)
        listed.fa.set_flow_style()
        return listed
    if not isinstance(value, Mapping):
        return value
    styled = CommentedMap((name, _styled(each)) for name, each in value.items())
    nested = any(isinstance(each, Mapping) for each in value.values())
    if value and not nested and len(str(value)) < ONE_LINE:
        styled.fa.set_flow_style()
    return styled
