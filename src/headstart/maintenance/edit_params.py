"""Edits of a params file that keep its comments and its order; nothing is written that does not read."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from headstart.artifacts.files import write_atomically
from headstart.params.reading import ParamsError
from headstart.registry import load, parse

Place = tuple[str, ...]


class Document:
    """A params file as its author wrote it."""

    def __init__(self, path: Path) -> None:
        """Read a file that is a params file already.

        Raises:
            ParamsError: it is none.
        """
        load(path)
        self.path, self._yaml = path, YAML()
        self._yaml.preserve_quotes = True
        # Lines stay as their author broke them.
        self._yaml.width = 4096
        self.content: Any = self._yaml.load(path.read_text(encoding="utf-8"))

    def replace(self, place: Sequence[str], value: Any) -> None:
        """Put a value in a place; sections on the way that are not there yet are made.

        Raises:
            ParamsError: a name on the way is of a value, not of a section.
        """
        inside, *rest = self.content, *place
        for name in rest[:-1]:
            inside = _child(inside, name, ".".join(place))
        name = rest[-1]
        if isinstance(inside, list):
            inside[_index(inside, name, ".".join(place))] = value
        elif isinstance(inside, dict):
            inside[_key(inside, name)] = value
        else:
            raise ParamsError(f"set: {'.'.join(place)}: what it is to stand in holds {inside!r}")

    def write(self) -> None:
        """Write the file, once its params have been checked.

        Raises:
            ParamsError: they cannot be used; the file is as it was.
        """
        parse(self.values(), self.path)
        write_atomically(self.path, self._dumped())

    def values(self) -> Any:
        """Return what a reader of the file gets; what was merged by `<<` follows edits only when read again."""
        return plain(YAML(typ="safe", pure=True).load(self._dumped().decode()))

    def _dumped(self) -> bytes:
        stream = io.BytesIO()
        self._yaml.dump(self.content, stream)
        return stream.getvalue()


def set_values(assignments: Sequence[str], params: Path) -> str:
    """Set values such as `transfer.convnet.finetune.epochs=10`; return every value that changed.

    Raises:
        ParamsError: an assignment is not of this form, or the params cannot be used with it.
    """
    document = Document(params)
    before = dict(_leaves(document.values()))
    for assignment in assignments:
        place, equals, text = assignment.partition("=")
        names = place.strip().split(".")
        if not equals or not all(names):
            raise ParamsError(
                f"set: {assignment!r} is not of the form section.name=value, such as "
                "transfer.convnet.finetune.epochs=10"
            )
        try:
            value = YAML(typ="safe", pure=True).load(text)
        except YAMLError as error:
            reason = " ".join(str(error).split())
            raise ParamsError(f"set: {assignment!r}: the value is no YAML: {reason}") from None
        document.replace(names, value)
    document.write()
    after = dict(_leaves(document.values()))
    changed = [each for each in {**before, **after} if before.get(each) != after.get(each)]
    wanted = tuple(each.partition("=")[0].strip() for each in assignments)
    lines = [_line(each, before, after, wanted) for each in changed]
    return "\n".join(lines or [f"{params} has these values already"])


def _line(
    place: str, before: dict[str, Any], after: dict[str, Any], wanted: tuple[str, ...]
) -> str:
    old, new = (each.get(place, "–") for each in (before, after))
    own = any(place == each or place.startswith(f"{each}.") for each in wanted)
    return f"{place}: {old} → {new}" + (
        "" if own else "  (it takes over what changed, by its alias)"
    )


def plain(document: Any) -> Any:
    """Return a document as dictionaries and lists; keys are texts."""
    if isinstance(document, dict):
        return {str(key): plain(value) for key, value in document.items()}
    if isinstance(document, list):
        return [plain(value) for value in document]
    return document


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, f"{place}.{name}" if place else name)
    else:
        yield place, value


def _key(section: dict[Any, Any], name: str) -> Any:
    return next((key for key in section if str(key) == name), name)


def _index(values: list[Any], name: str, place: str) -> int:
    if not name.isdigit() or int(name) >= len(values):
        raise ParamsError(f"set: {place}: {name!r} is no place in a list of {len(values)}")
    return int(name)


def _child(inside: Any, name: str, place: str) -> Any:
    if isinstance(inside, list):
        return inside[_index(inside, name, place)]
    if not isinstance(inside, dict):
        raise ParamsError(f"set: {place}: {name!r} would stand in {inside!r}, which is no section")
    key = _key(inside, name)
    if inside.get(key) is None:
        inside[key] = CommentedMap()
    return inside[key]
