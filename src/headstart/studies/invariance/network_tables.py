"""Which rows of the invariance study's tables belong together: runs, networks, ends, forms of CKA.

Seeds and arms repeat from model to model, so a run is named by all of `RUN`, and a network by all of
`NETWORK`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.measurements import MEASURED, select

RUN = ["source", "model", "target", "arm", "seed", "source_epoch", "target_seed"]
NETWORK = ["source", "model", "seed"]
Array = npt.NDArray[np.float64]
CLASSIFY, RECONSTRUCT, SCRATCH = "fine-tuned", "reconstructing", "from scratch"


def of_form(table: pd.DataFrame, form: str = "debiased") -> pd.DataFrame:
    """Return what was measured in one form of CKA, or without a choice of it, of one kind of seed.

    Where inversions started from several kinds, it is `noise`, or else the first by name.
    """
    kinds = sorted(set(table["kind"]) - {""}, key=lambda kind: (kind != "noise", kind))
    return select(table, condition=MEASURED, form=["", form], kind=["", *kinds[:1]])


def at_end(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at what counts as the end of each run, which need not be its last epoch."""
    keys = [*RUN, "target_epoch"]
    return table.merge(runs[keys], on=keys)


def doing(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of runs that do this."""
    mode = "reconstruct" if name == RECONSTRUCT else "finetune"
    return table[(table["mode"] == mode) & (table["random_start"] == (name == SCRATCH))]


@dataclass(frozen=True)
class Networks:
    """Some runs to one target, by what they do: four tables of the study, cut to these runs."""

    measurements: pd.DataFrame
    runs: pd.DataFrame
    transients: pd.DataFrame
    correlations: pd.DataFrame

    def where(self, **values: object) -> "Networks":
        """Return the runs with these values in columns that all four tables have."""

        def kept(table: pd.DataFrame) -> pd.DataFrame:
            return table[(table[list(values)] == pd.Series(values)).all(axis=1)]

        tables = (self.measurements, self.runs, self.transients, self.correlations)
        return Networks(*(kept(table) for table in tables))

    def does(self, name: str) -> pd.DataFrame:
        """Return the end values of runs that do this, debiased, of one kind of seed."""
        return at_end(of_form(doing(self.measurements, name)), self.runs)

    def diagonal(self, name: str, metric: str) -> Array | None:
        """Return "networks layers" of a metric, layer against itself; None where nobody measured it."""
        rows = self.does(name)
        rows = rows[(rows["metric"] == metric) & (rows["layer"] == rows["reference_layer"])]
        if rows.empty:
            return None
        means = rows.groupby([*NETWORK, "layer"])["value"].agg(
            lambda cells: cells.mean(skipna=False)
        )
        return means.unstack("layer").to_numpy(dtype=float)

    def grid(self, name: str, metric: str) -> pd.DataFrame:
        """Return the cells of a grid with their intervals over images, one row per network and cell."""
        rows = self.does(name)
        return rows[(rows["metric"] == metric) & rows["value"].notna()]
