"""One image with its players and its strongest interactions, for a figure."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from headstart.metrics.interactions.decomposition import decompose
from headstart.metrics.interactions.transform import membership
from headstart.studies.knowledge.compare import right_under_all
from headstart.studies.knowledge.groups import group_of
from headstart.studies.knowledge.networks import Networks

STRONGEST = 3


def choose(networks: Networks, init_epoch: str) -> int:
    """Return the first image that all three networks of the first source network get right, or the first."""
    right = right_under_all(networks, init_epoch, networks.seeds[0])
    return int(right.to(torch.int8).argmax())


def pixel_table(networks: Networks, image: int) -> pd.DataFrame:
    """Return one row per pixel of an image: row, column, player (-1: none), and a column per channel."""
    pixels = networks.pixels[image]
    players = networks.players if networks.players.ndim == 3 else networks.players[image]
    numbers = torch.where(players.any(0), players.to(torch.uint8).argmax(0), -1)
    height, width = numbers.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    table = {"row": rows, "column": columns, "player": numbers}
    table |= {f"channel_{index}": channel for index, channel in enumerate(pixels)}
    return pd.DataFrame({name: value.flatten().tolist() for name, value in table.items()})


def strongest_table(networks: Networks, image: int, init_epoch: str) -> pd.DataFrame:
    """Return the strongest preserved, discarded and new interactions of an image, in log-odds.

    Columns: image, label, init_epoch, part, rank, players (numbers, joined by spaces), order, value.
    """
    group = group_of(networks, networks.interactions, init_epoch, networks.seeds[0])
    parts = decompose(group.pretrained, group.finetuned)
    rows = []
    for part, table in parts._asdict().items():
        for rank, (players, value) in enumerate(_strongest(table[image], networks.count), start=1):
            rows.append((part, rank, " ".join(map(str, players)), len(players), value))
    found = pd.DataFrame(rows, columns=["part", "rank", "players", "order", "value"])
    label = networks.classes[int(networks.labels[image])]
    return found.assign(image=image, label=label, init_epoch=init_epoch)


def _strongest(table: Tensor, players: int) -> list[tuple[list[int], float]]:
    belongs = membership(players)
    chosen = table[1:].abs().topk(min(STRONGEST, len(table) - 1)).indices + 1
    return [
        (torch.nonzero(belongs[:, subset]).flatten().tolist(), float(table[subset]))
        for subset in chosen.tolist()
        if float(table[subset])
    ]
