"""Step `knowledge`: what the scores of all networks of a comparison say together.

Reads values only, so that another definition, null or interval costs no forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.seeds import derive_seed
from headstart.artifacts.store import JobContext
from headstart.metrics.interactions.resampling import Resampling
from headstart.studies.knowledge import examples
from headstart.studies.knowledge.columns import STUDY
from headstart.studies.knowledge.compare import Comparer
from headstart.studies.knowledge.comparison_tables import main_start
from headstart.studies.knowledge.counterfactual import add_counterfactuals
from headstart.studies.knowledge.histories import add_histories
from headstart.studies.knowledge.learning_dynamics import Follower
from headstart.studies.knowledge.networks import Networks
from headstart.studies.knowledge.params import Analysis
from headstart.studies.knowledge.rows import Rows
from headstart.studies.knowledge.sparsity import add_noise, add_sparsity


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write measurements, curves of sparsity, and one image with its strongest interactions."""
    options = Analysis.model_validate(job.params["analysis"])
    networks = Networks(job, context)
    names = {name: job.wildcards[name] for name in ("source", "model", "target")}
    rows = Rows(options.level, networks.seeds, study=STUDY, device=networks.device, **names)
    images = len(networks.labels)
    generator = torch.Generator().manual_seed(derive_seed("images", options.seed))
    resampling = Resampling(images, options.resamples, generator)
    starts, followed = networks.roles["starts"], networks.roles["followed"]
    context.log(
        f"{len(networks.seeds)} source networks, starts {', '.join(starts)}, {images} images, "
        f"{networks.count} players"
    )
    comparer = Comparer(networks, options, resampling, rows)
    follower = Follower(networks, options, resampling, rows)
    sparsity = []
    for start in starts:
        comparer.add(start)
        add_noise(networks, options, start, rows)
        sparsity.append(add_sparsity(networks, options, resampling, start, rows))
        if options.counterfactual:
            add_counterfactuals(networks, options, resampling, start, rows)
        if start in followed:
            follower.add(start)
    add_histories(networks, starts, rows)
    table = rows.table()
    write_table(context.out / "measurements.parquet", table)
    write_table(context.out / "sparsity.parquet", pd.concat(sparsity).assign(**names))
    shown = main_start(table)
    image = examples.choose(networks, shown)
    write_table(context.out / "example_pixels.parquet", examples.pixel_table(networks, image))
    strongest = examples.strongest_table(networks, image, shown)
    write_table(context.out / "example_interactions.parquet", strongest)
    for start in starts:
        context.log(_describe(table, start))
    undefined = int(table["value"].isna().sum())
    return {"dtype": "float64", "summary": {"measurements": len(table), "undefined": undefined}}


def _describe(table: pd.DataFrame, start: str) -> str:
    """Return the headline of a start: what is preserved, against chance."""
    rows = table[
        (table["start"] == start)
        & (table["metric"] == "preserved_of_pretrained")
        & (table["variant"] == "normalised")
        & (table["subset"] == "all")
        & table["order"].isna()
        & table["seed"].isna()
    ].set_index("reading")
    value, null = rows.loc["measured"], rows.loc["null_permuted"]
    return (
        f"from source epoch {start}: {value['value']:.1%} of the pretrained knowledge is preserved "
        f"[{value['low']:.1%}, {value['high']:.1%}], {null['value']:.1%} by chance"
    )
