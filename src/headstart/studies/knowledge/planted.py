"""Networks with planted interactions, of which every claim on knowledge holds by a stated size."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.metrics.interactions.transform import zeta
from headstart.studies.knowledge.networks import Networks, Place, seeded

AGAIN, SIMPLE, COMMON, SCRATCH = 0.8, 0.4, 0.8, 0.1
"""Share of the fine-tuned network's Walsh coefficients that others have: a second run; the pretrained
network, of simple orders (of complex ones it has none); every source network, of those of a common one;
the network from scratch."""
SIZES = (
    f"pretrained keeps {SIMPLE:.0%} of simple and none of complex interactions, a second run "
    f"{AGAIN:.0%}, scratch {SCRATCH:.0%}"
)
DECAY = 0.5
"""Of the strength from one order to the next."""


def planted(networks: Networks) -> Networks:
    """Return networks whose scores are drawn by role, source network and epoch."""
    roles = ("finetuned", "second", "probe", "scratch", "second_scratch", "null")
    images, sizes = len(networks.labels), networks.subsets.sizes

    def drawn(*names: str | int) -> Tensor:
        table = torch.randn(images, len(sizes), generator=seeded("planted", *names)).double()
        return table * DECAY**sizes

    def mixed(base: Tensor, kept: Tensor | float, *names: str | int) -> Tensor:
        """Return a share of the coefficients of `base`, others anew."""
        chosen = torch.rand(base.shape, generator=seeded("kept", *names)) < kept
        return base.where(chosen, drawn(*names))

    def end(role: str, seed: int) -> Tensor:
        tuned = mixed(drawn("common"), COMMON, "source", seed)
        scratch = mixed(tuned, SCRATCH, "scratch", seed)
        simple = torch.where(sizes < 3, SIMPLE, 0.0)
        return {
            "finetuned": lambda: tuned,
            "second": lambda: mixed(tuned, AGAIN, role, seed),
            "probe": lambda: mixed(tuned, simple, role, seed),
            "scratch": lambda: scratch,
            "second_scratch": lambda: mixed(scratch, AGAIN, role, seed),
            "null": lambda: drawn(role, seed),
        }[role]()

    def values(place: Place) -> Tensor:
        table = end(place.role, place.seed)
        if isinstance(place.epoch, int):
            last = networks.entry(place._replace(epoch="last"))
            time = place.epoch / last["target_epoch"] if last else 1.0
            start = ("start", place.role, place.seed)
            if place.role == "finetuned":  # straight, and early
                done = 1 - (1 - time) ** 6
                table = (1 - done) * drawn(*start) + done * table
            elif time < 1:  # late, with a detour of its own at every checkpoint, nearer and farther
                done = 0.5 * (place.epoch % 2) * time**0.5
                table = done * table + (1 - done) * drawn(*start, place.epoch)
        return networks.subsets.values(table)

    return networks.replacing(**dict.fromkeys(roles, values))


def planted_sparse(networks: Networks) -> Networks:
    """Return networks of few AND terms of equal strength in units of their noise, and a little noise."""
    sizes, images = networks.subsets.sizes, len(networks.labels)

    def values(place: Place) -> Tensor:
        generator = seeded("sparse", *map(str, place))
        terms = torch.rand(images, len(sizes), generator=generator) < 0.05
        weights = torch.randn(terms.shape, generator=generator).double() * 2 ** (sizes / 2)
        table = zeta(weights.where(terms, 0))
        noise = torch.randn(table.shape, generator=generator).double()
        return table + 0.01 * table.std(-1, keepdim=True) * noise

    return networks.replacing(**dict.fromkeys(("finetuned", "probe", "scratch"), values))
