"""The networks of one source epoch and source network that are compared, and their interactions in every variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.metrics.interactions.and_or import and_or_split
from headstart.metrics.interactions.decomposition import normalise
from headstart.studies.knowledge.networks import SCRATCH, Networks, Place, there


@dataclass(frozen=True)
class Group:
    """Tables of the networks of one source epoch and source network; None where there is no such network.

    Tables are [images, 2^n], or [images, 2, 2^n] with AND and OR interactions.
    """

    pretrained: Tensor
    finetuned: Tensor
    scratch: Tensor
    null: Tensor | None = None
    second: Tensor | None = None
    others: Sequence[Tensor] = ()
    """Fine-tuned networks of other source networks, from the same source epoch."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Group:
        """Return the group with every network's table changed."""
        return Group(
            change(self.pretrained),
            change(self.finetuned),
            change(self.scratch),
            None if self.null is None else change(self.null),
            None if self.second is None else change(self.second),
            [change(table) for table in self.others],
        )

    def tables(self) -> list[Tensor]:
        """Return the tables that there are, in the order of `map`."""
        named = (self.pretrained, self.finetuned, self.scratch, self.null, self.second)
        return [table for table in (*named, *self.others) if table is not None]


def group_of(
    networks: Networks, table: Callable[[Place], Tensor | None], init_epoch: str, seed: int
) -> Group:
    """Return the tables of all networks of one source epoch and source network.

    The random backbone is that of another source network, where there is one. A source epoch whose weights all source
    networks share has no other source.
    """
    tuned = Place("finetuned", seed, init_epoch)
    others = [] if networks.shares(init_epoch) else [s for s in networks.seeds if s != seed]
    elsewhere = [table(tuned._replace(seed=other)) for other in others]
    return Group(
        there(table(Place("probe", seed, init_epoch)), tuned),
        there(table(tuned), tuned),
        there(table(Place("scratch", seed, SCRATCH)), tuned),
        table(Place("null", networks.unrelated(seed), SCRATCH)),
        table(Place("second", seed, init_epoch)),
        [other for other in elsewhere if other is not None],
    )


def variants(group: Group) -> dict[str, Group]:
    """Return the interactions as they are, and normalised by every network's strength."""
    return {"raw": group, "normalised": group.map(normalise)}


def and_or_variants(values: Group) -> tuple[dict[str, Group], Tensor]:
    """Return the same of AND and OR interactions [images, 2, 2^n], and the duality gap [images].

    All networks of an image have one γ.
    """
    solved = and_or_split(torch.stack(values.tables(), dim=1))
    both = iter(torch.stack([solved.and_interactions, solved.or_interactions], 2).unbind(1))
    split = values.map(lambda _: next(both))
    return {"and_or": split, "and_or_normalised": split.map(normalise)}, solved.gap
