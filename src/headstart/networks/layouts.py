"""Layouts in which people keep weights: nested, behind prefixes, in half precision, with another classifier.

A file is read without running any code in it, the tensors of one network are found in it, and they get the
names that the network itself has. What was done is said in notes, a line each.
"""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.networks.network import NetworkError

COUNTS = "num_batches_tracked"
SHOWN = 4
# Times the size of a file.
MOST_UNPACKED = 10
# What wrappers of torch put between the names of modules.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Parts of other people's training that no backbone has: classifiers, projections, decoders, losses.
BESIDE = re.compile(
    r"(heads?|head_.*|.*_head|fc|classifier|last_linear|linear|logits|logit_scale|aux.*|project.*|"
    r"predict.*|prototypes|decoder.*|mask_token|loss.*|criterion.*|queue.*|mean|std|pixel_.*)"
)
PYTORCH = "save its weights alone: torch.save(network.state_dict(), 'weights.pt')"


class Part(NamedTuple):
    """A network inside a file: where its state dict is nested, and what stands before its names."""

    entry: str
    prefix: str

    def __str__(self) -> str:
        return ".".join(each for each in (self.entry, self.prefix.rstrip(".")) if each)


@dataclass(frozen=True)
class Found:
    """The tensors of one network under its own names, what lies beside them, and what was done."""

    state: dict[str, Tensor]
    beside: dict[str, Tensor]
    part: Part
    notes: list[str] = field(default_factory=list)
    alone: bool = True
    """The file holds this network alone, neither nested nor in another precision."""

    @property
    def where(self) -> str:
        """Return where in the file the network was found, for messages."""
        return "" if str(self.part) in ("", "backbone") else f" (its {str(self.part)!r})"


def read_content(path: Path) -> Any:
    """Return what a file of weights holds, by its content, whatever it is called.

    Raises:
        NetworkError: it is neither a safetensors file nor one that torch saved without code in it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start[:2] == b"PK" or start[:1] == b"\x80":
            return _torch_content(path)
        return load_file(path)
    except OSError as error:
        raise NetworkError(f"{path}: these weights cannot be read: {error.strerror}") from None
    except SafetensorError as error:
        raise NetworkError(f"{path}: this is no safetensors file: {error}") from None


def _torch_content(path: Path) -> Any:
    """Read a file of torch; beside tensors, only options and numbers of training may stand in it."""
    harmless = [argparse.Namespace, np.dtype, *(type(np.dtype(each)) for each in "fdilqB?")]
    scalar = np.float64(0).__reduce__()[0]
    named: Any = [*harmless, scalar, (scalar, "numpy.core.multiarray.scalar")]
    _check_size(path)
    try:
        with torch.serialization.safe_globals(named):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError) as error:
        foreign = re.findall(r"GLOBAL (\S+)", str(error))
        # Before that, torch advises to run the code.
        text = (str(error).partition("WeightsUnpickler error:")[2] or str(error)).strip()
        reason = text.splitlines()[0] if text else type(error).__name__
        reason = f"it holds objects of {', '.join(foreign)}" if foreign else reason
        raise NetworkError(
            f"{path}: torch reads no state dict from it without running code: {reason}; {PYTORCH}"
        ) from None


def _check_size(path: Path) -> None:
    """Refuse an archive that unpacks to many times its size: torch packs nothing, and weights do not shrink."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    if unpacked > MOST_UNPACKED * path.stat().st_size:
        raise NetworkError(
            f"{path}: this archive unpacks to {unpacked:,} bytes, far more than its own size; {PYTORCH}"
        )


def find_network(content: Any, own: Iterable[str], name: str, part: str | None = None) -> Found:
    """Return the tensors of the network whose names are `own`, wherever they stand in `content`.

    `part` chooses between several networks, by the entry or the prefix that stands before the names; of
    weights and their moving average, the weights are taken where nothing is said.

    Raises:
        NetworkError: there are no tensors, several networks and no choice, or no such part.
    """
    names = [each for each in own if not each.endswith(COUNTS)]
    entries = {entry: _unwrapped(state, names) for entry, state in state_dicts(content, name)}
    fits = {
        Part(entry, prefix): number
        for entry, state in entries.items()
        for prefix, number in _prefixes(state, set(names)).items()
    }
    most = max(fits.values(), default=0)
    if 2 * most < len(names):
        # Names of another code, which timm may know how to rename; or of another network.
        parts = [Part(entry, _shared_prefix(state)) for entry, state in entries.items()]
    else:
        parts = [each for each, number in fits.items() if number == most]
    chosen, notes = _choose(parts, entries, names, name, part)
    alone = not notes and not chosen.entry
    whole, prefix = entries[chosen.entry], chosen.prefix
    inside = {each[len(prefix) :]: v for each, v in whole.items() if each.startswith(prefix)}
    beside = {each: value for each, value in whole.items() if not each.startswith(prefix)}
    if chosen.entry:
        notes.insert(0, f"read its entry {chosen.entry!r}")
    if prefix:
        notes.append(f"renamed: {len(inside)} names without {prefix!r}")
    if beside:
        notes.append(f"left out: {some(beside)}")
    state = _as_float32(inside, name, notes)
    alone = alone and all(state[each] is inside[each] for each in inside)
    return Found(state, beside, chosen, notes, alone)


def some(names: Iterable[str]) -> str:
    """Return the first names of many."""
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f", … ({len(listed)})" if len(listed) > SHOWN else "")


def is_beside(name: str) -> bool:
    """Return whether a name that a backbone does not have is of a classifier or another part of training."""
    return bool(BESIDE.fullmatch(_root(name)))


def _root(name: str) -> str:
    return name.partition(".")[0]


def state_dicts(content: Any, name: str) -> list[tuple[str, dict[str, Tensor]]]:
    """Return every mapping from names to tensors in nested ones, with the names on the way to it.

    Raises:
        NetworkError: there is none.
    """
    found = list(_entries(content, ""))
    if not found:
        raise NetworkError(f"{name}: this is no state dict, names with a tensor each; {PYTORCH}")
    return found


def _entries(content: Any, path: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping):
        return
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if tensors:
        yield path, tensors
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping):
            yield from _entries(value, f"{path}.{key}" if path else key)


def _unwrapped(state: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """Take wrappers out of the middle of names, unless the network itself has such a part."""
    used = {part for name in own for part in name.split(".")}
    wrappers = [each for each in WRAPPERS if each not in used]

    def inner(name: str) -> str:
        parts = name.split(".")
        start = next((i for i, part in enumerate(parts) if part not in wrappers), 0)
        return ".".join([*parts[:start], *(p for p in parts[start:] if p not in wrappers)])

    return {inner(name): tensor for name, tensor in state.items()}


def _prefixes(state: Iterable[str], own: set[str]) -> Counter[str]:
    """Return how many of the network's names stand behind each prefix."""
    found: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                found["".join(f"{part}." for part in parts[:start])] += 1
    return found


def _shared_prefix(state: Mapping[str, Tensor]) -> str:
    """Return the wrapper that all names begin with."""
    roots = {_root(name) for name in state}
    shared = roots.pop() if len(roots) == 1 else ""
    return f"{shared}." if shared in (*WRAPPERS, "model", "backbone", "encoder") else ""


def _choose(
    parts: list[Part],
    entries: Mapping[str, Mapping[str, Tensor]],
    own: list[str],
    name: str,
    requested: str | None,
) -> tuple[Part, list[str]]:
    if requested is not None:
        wanted = requested.rstrip(".")
        named = [
            each for each in parts if wanted in (str(each), each.entry, each.prefix.rstrip("."))
        ]
        if len(named) != 1:
            raise NetworkError(f"{name}: --part {requested}: its networks are {_listed(parts)}")
        return named[0], []
    distinct: list[Part] = []
    for each in parts:
        if not any(_equal(each, other, entries, own) for other in distinct):
            distinct.append(each)
    plain = [each for each in distinct if not _averaged(str(each))]
    if len(distinct) == 1 or len(plain) == 1:
        chosen = (plain or distinct)[0]
        rest = [each for each in distinct if each != chosen]
        notes = [f"not used: {_listed(rest)}; `--part` chooses"] if rest else []
        return chosen, notes
    raise NetworkError(
        f"{name}: holds several networks, {_listed(distinct)}; "
        "choose one: `headstart data add MODEL FILE --part NAME`"
    )


def _averaged(name: str) -> bool:
    """Return whether a name says that its weights are a moving average of others."""
    return bool(re.search(r"(^|[._])(ema|averaged?|swa|momentum|shadow)([._]|$)", name))


def _equal(
    one: Part, other: Part, entries: Mapping[str, Mapping[str, Tensor]], own: list[str]
) -> bool:
    states = [entries[each.entry] for each in (one, other)]
    pairs = [(states[0].get(one.prefix + n), states[1].get(other.prefix + n)) for n in own]
    return all(
        a is b or (a is not None and b is not None and a.shape == b.shape and torch.equal(a, b))
        for a, b in pairs
    )


def _listed(parts: Iterable[Part]) -> str:
    return ", ".join(repr(str(each) or "the file itself") for each in parts)


def _as_float32(state: Mapping[str, Tensor], name: str, notes: list[str]) -> dict[str, Tensor]:
    """Return weights in float32; refuse those that are no finite numbers, or nothing but zeros."""
    kinds = {
        str(v.dtype).removeprefix("torch.")
        for v in state.values()
        if v.is_floating_point() and v.dtype != torch.float32
    }
    if kinds:
        notes.append(f"converted: {', '.join(sorted(kinds))} to float32")
    found = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    check_finite(found, name)
    return found


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights with NaN or infinity in them, and a file of zeros.

    Raises:
        NetworkError: names the first tensors of the kind.
    """
    floating = {k: v for k, v in state.items() if v.is_floating_point() or v.is_complex()}
    broken = [each for each, tensor in floating.items() if not tensor.isfinite().all()]
    if broken:
        raise NetworkError(
            f"{name}: {len(broken)} of its tensors hold NaN or infinity: {some(broken)}; "
            "take a checkpoint from before the training diverged"
        )
    if floating and not any(tensor.any() for tensor in floating.values()):
        raise NetworkError(f"{name}: all of its weights are zero; save the trained network")
