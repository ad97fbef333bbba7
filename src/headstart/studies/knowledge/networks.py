"""The networks of a comparison, by role, source epoch and source network: their scores and interactions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.files import read_json, read_table
from headstart.artifacts.keys import derive_seed
from headstart.artifacts.store import Artifact
from headstart.metrics.interactions.transform import mobius, walsh
from headstart.studies.knowledge import KnowledgeError
from headstart.training.checkpoints import load

Role = Literal["finetuned", "second", "probe", "scratch", "second_scratch", "null"]
Epoch = int | Literal["best", "last"]
SCRATCH = "0"
PATHS: tuple[Role, ...] = ("finetuned", "scratch")
"""Networks whose learning dynamics are measured."""
TRAINED: tuple[Role, ...] = ("finetuned", "second", "probe")
"""Networks that every source epoch has."""


class Place(NamedTuple):
    """One network: what it is, of which source network, from which source epoch, at which target epoch."""

    role: Role
    seed: int
    init_epoch: str
    epoch: Epoch = "best"


class Networks:
    """All networks of one knowledge job, and the images that they share.

    Attributes:
        seeds: source networks, by seed.
        labels: of the images.
        pixels: uint8 [images, channels, height, width].
        players: [players, height, width], or one such for every image.
    """

    def __init__(self, roles: Mapping[str, Any], values: Sequence[Artifact]) -> None:
        """Read what the values of a comparison say of themselves; `roles` says which runs are what.

        Raises:
            KnowledgeError: two networks were evaluated on other images, players or classes.
        """
        self.roles = roles
        self._artifacts: dict[tuple[str, str, int], Artifact] = {}
        self._states: dict[tuple[str, str, int], Sequence[Mapping[str, Any]]] = {}
        first: tuple[Artifact, Any, dict[str, Tensor]] | None = None
        for artifact in values:
            names = artifact.manifest["wildcards"]
            key = names["model"], names["arm"], int(names["seed"])
            contents = read_json(artifact.file("states.json"))
            images = load(artifact.file("images.safetensors"))
            self._artifacts[key], self._states[key] = artifact, contents["states"]
            if first is None:
                first = artifact, contents["classes"], images
            _check_same(first, (artifact, contents["classes"], images))
        assert first is not None
        images = first[2]
        self.seeds = sorted({seed for *_, seed in self._artifacts})
        self.classes: tuple[str, ...] = tuple(first[1])
        self.pixels, self.labels = images["pixels"], images["labels"]
        self.players = images["players"].bool()
        self.device = str(values[0].manifest["device"])
        self._tables = lru_cache(maxsize=8)(self._read)
        self._replaced: Mapping[Role, Callable[[Place], Tensor | None]] = {}

    @property
    def count(self) -> int:
        """The number of players, n."""
        return self.players.shape[-3]

    def shares(self, init_epoch: str) -> bool:
        """Return whether all source networks have the same weights at a source epoch: those that are given."""
        return init_epoch in self.roles.get("given", ())

    def unrelated(self, seed: int) -> int:
        """Return the next source network, or the same where there is no other.

        Its random backbone is not the one that this source network, or its network from scratch, grew
        from.
        """
        return self.seeds[(self.seeds.index(seed) + 1) % len(self.seeds)]

    def replacing(self, **roles: Callable[[Place], Tensor | None]) -> Networks:
        """Return the same networks, the scores of some roles replaced by what a function says of a place."""
        other = copy.copy(self)
        other._replaced = {**self._replaced, **roles}  # type: ignore[dict-item]
        return other

    def entry(self, place: Place) -> Mapping[str, Any] | None:
        """Return what is said of a network, or None where there is none."""
        model, arm, runs = self.roles[place.role]
        field, wanted = "target_epoch", place.epoch
        if isinstance(place.epoch, str):
            field, wanted = place.epoch, True
        for state in self._states.get((model, arm, place.seed), ()):
            run = state["target_seed"] in runs
            if run and state["init_epoch"] == place.init_epoch and state[field] == wanted:
                return state
        return None

    def source_epochs(self) -> dict[str, dict[int, int]]:
        """Return the source epoch of every network: as requested -> source network -> number."""
        found = {SCRATCH: dict.fromkeys(self.seeds, 0)}
        for init_epoch in self.roles["init_epochs"]:
            entries = {s: self.entry(Place("finetuned", s, init_epoch)) for s in self.seeds}
            found[init_epoch] = {
                seed: int(entry["source_epoch"]) for seed, entry in entries.items() if entry
            }
        return found

    def values(self, place: Place) -> Tensor | None:
        """Return v(x_T), float64 [images, 2^n]."""
        if place.role in self._replaced:
            return self._replaced[place.role](place)
        tensors = self._tensors(place)
        return None if tensors is None else tensors["values"].double()

    def interactions(self, place: Place) -> Tensor | None:
        """Return I(S), float64 [images, 2^n]."""
        values = self.values(place)
        return None if values is None else mobius(values)

    def walsh(self, place: Place) -> Tensor | None:
        """Return ŵ(S), float64 [images, 2^n]."""
        values = self.values(place)
        return None if values is None else walsh(values)

    def made(self, place: Place) -> Tensor:
        """Return I(S) of a network that there must be.

        Raises:
            KnowledgeError: it was not evaluated.
        """
        return there(self.interactions(place), place)

    def scored(self, place: Place) -> Tensor:
        """Return v(x_T) of a network that there must be, as `made`."""
        return there(self.values(place), place)

    def right(self, place: Place) -> Tensor | None:
        """Return which of the whole images the network classifies rightly."""
        tensors = self._tensors(place)
        return None if tensors is None else tensors["logits"].argmax(-1) == self.labels

    def repeated(self, place: Place) -> tuple[Tensor, Tensor] | None:
        """Return the scores of the images evaluated twice, with one chunk size and another."""
        tensors = self._tensors(place) or {}
        again = tensors.get("repeat")
        return None if again is None else (tensors["values"][: len(again)], again)

    def history(self, role: Role, seed: int, init_epoch: str) -> pd.DataFrame:
        """Return the history of a run, one row per target epoch."""
        model, arm, runs = self.roles[role]
        table = read_table(self._artifacts[model, arm, seed].file("history.parquet"))
        mine = (table["init_epoch"] == init_epoch) & table["target_seed"].isin(runs)
        return table[mine].reset_index(drop=True)

    def _tensors(self, place: Place) -> dict[str, Tensor] | None:
        entry = self.entry(place)
        model, arm, _ = self.roles[place.role]
        return None if entry is None else self._tables(model, arm, place.seed, entry["file"])

    def _read(self, model: str, arm: str, seed: int, file: str) -> dict[str, Tensor]:
        return load(self._artifacts[model, arm, seed].file(file))


def seeded(*names: str | int) -> torch.Generator:
    """Return the generator of everything that is drawn under some names."""
    return torch.Generator().manual_seed(derive_seed(*names))


def there(table: Tensor | None, place: Place) -> Tensor:
    """Return a table, or refuse to go on where a network, or one that it is compared with, has none."""
    if table is None:
        raise KnowledgeError(f"{place}: it, or a network to compare it with, was not evaluated")
    return table


def _check_same(
    first: tuple[Artifact, Any, dict[str, Tensor]], other: tuple[Artifact, Any, dict[str, Tensor]]
) -> None:
    """Refuse networks that were evaluated on different things."""
    if first[1] != other[1]:
        raise KnowledgeError(
            f"{other[0].path}: its networks tell {len(other[1])} classes apart, those of {first[0].path} "
            f"{len(first[1])}, {_class_difference(first[1], other[1])}; compare networks of the same task"
        )
    for name in ("labels", "positions", "players", "pixels"):
        if not torch.equal(first[2][name], other[2][name]):
            raise KnowledgeError(
                f"{other[0].path}: its {name} are not those of {first[0].path}; evaluate all networks "
                "of a comparison on the same images and players"
            )


def _class_difference(first: Sequence[str], other: Sequence[str]) -> str:
    """Say which classes only one side has, or that both have the same in another order."""
    sides = [
        (set(other) - set(first), "the former alone"),
        (set(first) - set(other), "the latter alone"),
    ]
    named = [f"{', '.join(sorted(names))} in {side}" for names, side in sides if names]
    return " and ".join(named) or "the same in another order"
