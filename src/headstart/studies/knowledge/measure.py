"""Step `knowledge`: what the scores of all networks of a comparison say together.

Reads values only, so that another definition, null or interval costs no forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.metrics.interactions.decomposition import decompose
from headstart.metrics.interactions.resampling import Resampling
from headstart.metrics.interactions.transform import shapley_values
from headstart.statistics.measurements import select
from headstart.studies.knowledge.compare import Comparer, right_under_all
from headstart.studies.knowledge.counterfactual import add_counterfactuals
from headstart.studies.knowledge.learning_dynamics import LearningDynamics
from headstart.studies.knowledge.networks import (
    FITS,
    PATHS,
    SCRATCH,
    TRAINED,
    Networks,
    Place,
    Role,
    opened,
    seeded,
)
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows
from headstart.studies.knowledge.shares import group_of
from headstart.studies.knowledge.sparsity import add_noise, add_sparsity
from headstart.studies.knowledge.tables import HEADLINE, headline_of, main_init_epoch
from headstart.studies.knowledge.unseen import add_unseen
from headstart.training.checkpoints import save


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write measurements, curves of sparsity, and one image with its strongest interactions."""
    options = Analysis.model_validate(job.params["analysis"])
    networks = opened(job.params["roles"], context.inputs["values"], options)
    names = {name: job.wildcards[name] for name in ("source", "model", "target")}
    rows = Rows(options.confidence, networks.source_epochs(), device=networks.device, **names)
    images = len(networks.labels)
    generator = seeded("images", options.seed)
    resampling = Resampling(images, options.resamples, generator, len(networks.seeds))
    init_epochs, followed = networks.roles["init_epochs"], networks.roles["followed"]
    context.log(
        f"{len(networks.seeds)} source networks, source epochs {', '.join(init_epochs)}, {images} images, "
        f"{networks.count} players"
    )
    if networks.masks is not None:
        save(dict(networks.fit()), context.out / FITS)
    comparer = Comparer(networks, options, resampling, rows)
    dynamics = LearningDynamics(networks, options, resampling, rows)
    sparsity = []
    for init_epoch in init_epochs:
        if networks.masks is not None:
            add_unseen(networks, options, resampling, init_epoch, rows)
        comparer.add(init_epoch)
        add_noise(networks, options, init_epoch, rows)
        sparsity.append(add_sparsity(networks, options, resampling, init_epoch, rows))
        if options.counterfactual:
            add_counterfactuals(networks, options, resampling, init_epoch, rows)
        if init_epoch in followed:
            dynamics.add(init_epoch)
    _add_histories(networks, init_epochs, rows)
    # Which variant claims and figures read: they see tables only.
    for init_epoch in init_epochs:
        rows.add_number(HEADLINE, 1.0, variant=options.headline, init_epoch=init_epoch)
    table = rows.table()
    write_table(context.out / "measurements.parquet", table)
    write_table(context.out / "sparsity.parquet", pd.concat(sparsity).assign(**names))
    shown = main_init_epoch(table)
    write_table(context.out / "shapley.parquet", shapley_table(networks, init_epochs))
    image = choose_example(networks, shown)
    write_table(context.out / "example_pixels.parquet", pixel_table(networks, image))
    strongest = strongest_table(networks, image, shown)
    write_table(context.out / "example_interactions.parquet", strongest)
    for init_epoch in init_epochs:
        context.log(_describe(table, init_epoch))
    undefined = int(table["value"].isna().sum())
    return {"dtype": "float64", "summary": {"measurements": len(table), "undefined": undefined}}


def _add_histories(networks: Networks, init_epochs: list[str], rows: Rows) -> None:
    """Add losses and accuracies of all runs by epoch, and at the epoch that validation chose."""
    places: list[tuple[Role, str]] = [("scratch", SCRATCH), ("null", SCRATCH)]
    places += [(role, init_epoch) for init_epoch in init_epochs for role in TRAINED]
    for role, init_epoch in places:
        for seed in networks.seeds:
            if networks.entry(Place(role, seed, init_epoch)) is None:
                continue
            names: dict[str, Any] = {"role": role, "init_epoch": init_epoch, "seed": seed}
            history = networks.history(role, seed, init_epoch)
            for record in history.to_dict("records") if role in PATHS else ():
                _add_epoch(rows, record, names)
            best = history[history["best"]].iloc[0]
            rows.add_number(
                "accuracy_at_validation_best",
                float(best["test_accuracy"]),
                target_epoch=int(best["epoch"]),
                **names,
            )


def _add_epoch(rows: Rows, record: dict[Any, Any], names: dict[str, Any]) -> None:
    epoch = int(record["epoch"])
    for split, metric in product(("train", "validation", "test"), ("loss", "accuracy")):
        value = record.get(f"{split}_{metric}")
        if value is not None and value == value:
            rows.add_number(metric, float(value), split=split, target_epoch=epoch, **names)


def _describe(table: pd.DataFrame, init_epoch: str) -> str:
    """Return the headline of a source epoch: what is preserved, against chance."""
    names = {"metric": "preserved_of_pretrained", "variant": headline_of(table), "subset": "all"}
    rows = select(table, init_epoch=init_epoch, order=None, seed=None, **names)
    rows = rows.set_index("condition")
    value, null = rows.loc["measured"], rows.loc["null_permuted"]
    return (
        f"from source epoch {init_epoch}: {value['value']:.1%} of the pretrained knowledge is preserved "
        f"[{value['low']:.1%}, {value['high']:.1%}], {null['value']:.1%} by chance"
    )


def shapley_table(networks: Networks, init_epochs: list[str]) -> pd.DataFrame:
    """Return one row per player, image and network at its best epoch: the Shapley value, in log-odds.

    Columns: role, init_epoch, seed, image, label, player, value.
    """
    places = [Place("scratch", seed, SCRATCH) for seed in networks.seeds]
    roles: tuple[Role, ...] = ("probe", "finetuned")
    places += [Place(r, seed, e) for r, e, seed in product(roles, init_epochs, networks.seeds)]
    labels = [networks.classes[label] for label in networks.labels.tolist()]
    parts = []
    for place in places:
        shapley = shapley_values(networks.made(place), networks.subsets.members)
        values = pd.DataFrame(shapley.numpy())
        table = values.assign(image=range(len(labels)), label=labels).melt(
            ["image", "label"], var_name="player", value_name="value"
        )
        parts.append(
            table.assign(role=place.role, init_epoch=place.init_epoch, seed=place.seed).astype(
                {"player": int}
            )
        )
    return pd.concat(parts, ignore_index=True)


STRONGEST = 3


def choose_example(networks: Networks, init_epoch: str) -> int:
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
    group = group_of(networks, init_epoch, networks.seeds[0]).map(networks.subsets.mobius)
    parts = decompose(group.pretrained, group.finetuned)
    rows = []
    for part, table in parts._asdict().items():
        for rank, (players, value) in enumerate(
            _strongest(table[image], networks.subsets.members), start=1
        ):
            rows.append((part, rank, " ".join(map(str, players)), len(players), value))
    found = pd.DataFrame(rows, columns=["part", "rank", "players", "order", "value"])
    label = networks.classes[int(networks.labels[image])]
    return found.assign(image=image, label=label, init_epoch=init_epoch)


def _strongest(table: Tensor, belongs: Tensor) -> list[tuple[list[int], float]]:
    chosen = table[1:].abs().topk(min(STRONGEST, len(table) - 1)).indices + 1
    return [
        (torch.nonzero(belongs[:, subset]).flatten().tolist(), float(table[subset]))
        for subset in chosen.tolist()
        if float(table[subset])
    ]
