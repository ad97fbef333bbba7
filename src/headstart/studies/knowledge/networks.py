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
from headstart.metrics.interactions.sampled import Design
from headstart.metrics.interactions.subsets import AllSubsets, LowOrder
from headstart.studies.knowledge import KnowledgeError
from headstart.studies.knowledge.params import Analysis
from headstart.training.checkpoints import load

Role = Literal["finetuned", "second", "probe", "scratch", "second_scratch", "null"]
Epoch = int | Literal["best", "last"]
SCRATCH = "0"
PATHS: tuple[Role, ...] = ("finetuned", "scratch")
"""Networks whose learning dynamics are measured."""
TRAINED: tuple[Role, ...] = ("finetuned", "second", "probe")
"""Networks that every source epoch has."""


FITS = "walsh.safetensors"
"""The Walsh coefficients that a comparison fits to some masks: see `Networks.fit`."""


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

    def __init__(
        self, roles: Mapping[str, Any], values: Sequence[Artifact], max_order: int = 3
    ) -> None:
        """Read what the values of a comparison say of themselves; `roles` says which runs are what.

        Of scores of some masks, Walsh coefficients up to `max_order` are to be fitted: see `fits`.

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
        self.masks = images["masks"].bool() if "masks" in images else None
        self.subsets = (
            AllSubsets(self.count)
            if self.masks is None
            else LowOrder(self.count, max_order, len(self.masks))
        )
        self._fits: Mapping[str, Tensor] = {}
        self._tables = lru_cache(maxsize=8)(self._read)
        self._replaced: Mapping[Role, Callable[[Place], Tensor | None]] = {}

    @property
    def count(self) -> int:
        """The number of players, n."""
        return self.players.shape[-3]

    @property
    def files(self) -> list[tuple[tuple[str, str, int], str]]:
        """Model, arm and source network of every file of values, and its name."""
        return [(key, str(s["file"])) for key, states in self._states.items() for s in states]

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

    def fit(self) -> Mapping[str, Tensor]:
        """Fit Walsh coefficients to the scores of some masks, those of all networks on one support, and use them.

        Returned are for every image i `terms-i` [terms], columns of the tables; `coefficients-i`
        [networks, terms], the networks in the order of the values and their states; and of all `r2` and
        `variance` over masks that the fit never saw [networks, images].
        """
        assert self.masks is not None
        tables = [load(self._artifacts[key].file(file))["values"] for key, file in self.files]
        design = Design(self.masks, self.subsets.members.T)
        found: dict[str, Tensor] = {}
        unseen = []
        for image, of_networks in enumerate(torch.stack(tables, 1)):
            fit = design.fit(of_networks)
            found[f"terms-{image}"] = fit.terms
            found[f"coefficients-{image}"] = fit.coefficients.contiguous()
            unseen.append((fit.r2, fit.variance))
        for index, name in enumerate(("r2", "variance")):
            found[name] = torch.stack([each[index] for each in unseen], 1).contiguous()
        self.use(found)
        return found

    def use(self, fits: Mapping[str, Tensor]) -> None:
        """Take what `fit` found before."""
        self._fits = fits
        self._tables.cache_clear()

    def values(self, place: Place) -> Tensor | None:
        """Return the values of all images, float64 [images, subsets]: see `subsets`."""
        if place.role in self._replaced:
            return self._replaced[place.role](place)
        tensors = self._tensors(place)
        return None if tensors is None else tensors["values"].double()

    def interactions(self, place: Place) -> Tensor | None:
        """Return I(S), float64 [images, subsets]."""
        values = self.values(place)
        return None if values is None else self.subsets.mobius(values)

    def made(self, place: Place) -> Tensor:
        """Return I(S) of a network that there must be.

        Raises:
            KnowledgeError: it was not evaluated.
        """
        return there(self.interactions(place), place)

    def scored(self, place: Place) -> Tensor:
        """Return the values of a network that there must be, as `made`."""
        return there(self.values(place), place)

    def variance(self, place: Place) -> Tensor:
        """Return the variance of v over masks of a network that there must be [images]."""
        if self.masks is None:
            return self.scored(place).var(-1, correction=0)
        return there((self._tensors(place) or {}).get("variance"), place)

    def unseen(self, place: Place) -> tuple[Tensor, Tensor] | None:
        """Return what a fit explains of the variance over masks that it never saw, and that variance [images]."""
        tensors = self._tensors(place) if self.masks is not None else None
        if tensors is None:
            return None
        return tensors["r2"] * tensors["variance"], tensors["variance"]

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
        tensors = load(self._artifacts[model, arm, seed].file(file))
        if self.masks is None:
            return tensors
        index = self.files.index(((model, arm, seed), file))
        table = torch.zeros(len(self.labels), len(self.subsets.sizes), dtype=torch.float64)
        for image, row in enumerate(table):
            row[self._fits[f"terms-{image}"]] = self._fits[f"coefficients-{image}"][index]
        unseen = {name: self._fits[name][index] for name in ("r2", "variance")}
        return {"values": table, "logits": tensors["logits"], **unseen}


def opened(
    roles: Mapping[str, Any],
    values: Sequence[Artifact],
    options: Analysis,
    compared: Artifact | None = None,
) -> Networks:
    """Return the networks of a comparison; fits to some masks are those of `compared`, where it is made."""
    networks = Networks(roles, values, options.max_order)
    if networks.masks is not None and compared is not None:
        networks.use(load(compared.file(FITS)))
    return networks


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
    for name in ("labels", "positions", "players", "pixels", "masks"):
        nothing = torch.empty(0)
        if not torch.equal(first[2].get(name, nothing), other[2].get(name, nothing)):
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
