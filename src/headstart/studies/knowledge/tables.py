"""The tables of the study of knowledge: those of all comparisons in one, as claims and figures read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pandas as pd

from headstart.artifacts.files import read_table, write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.statistics.claim_results import ClaimResult, Status
from headstart.statistics.measurements import MEASURED, Schema, select
from headstart.statistics.words import format_interval, pluralize

NAMES = ("source", "model", "target")
SCHEMA = Schema(
    "knowledge",
    {
        "role": "str",
        "init_epoch": "str",
        "subset": "str",
        "order": "Int64",
        "variant": "str",
        "networks": "Int64",
        "undefined": "Int64",
    },
)
"""The columns of the study's measurements; `docs/knowledge.md` describes every one."""


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write `measurements`, `sparsity`, `shapley`, `example_pixels` and `example_interactions` of all comparisons."""
    artifacts = context.inputs["knowledge"]
    context.log(f"gathering {len(artifacts)} comparisons")
    measurements = SCHEMA.tidy(pd.concat([_read(one, "measurements") for one in artifacts]))
    write_table(context.out / "measurements.parquet", measurements)
    for name in ("sparsity", "shapley", "example_pixels", "example_interactions"):
        parts = [_read(one, name).assign(**_names(one)) for one in artifacts]
        write_table(context.out / f"{name}.parquet", pd.concat(parts, ignore_index=True))
    return {"summary": {"measurements": len(measurements)}}


def _read(artifact: Artifact, name: str) -> pd.DataFrame:
    return read_table(artifact.file(f"{name}.parquet"))


def _names(artifact: Artifact) -> dict[str, str]:
    return {name: artifact.manifest["wildcards"][name] for name in NAMES}


def main_init_epoch(table: pd.DataFrame) -> str:
    """Return the source epoch of fine-tuning that claims are evaluated at and figures show."""
    return main_of(set(select(table, role="finetuned")["init_epoch"]))


def main_of(init_epochs: Collection[str]) -> str:
    """Return the source epoch that leads: `best`, else the last."""
    return "best" if "best" in init_epochs else max(init_epochs, key=int)


HEADLINE = "headline"
"""The metric whose row has the variant that claims are evaluated on and figures show."""


def headline_of(table: pd.DataFrame) -> str:
    """Return the variant of interactions that leads: `walsh` or `normalised`."""
    named = select(table, metric=HEADLINE)["variant"]
    return str(named.iloc[0]) if len(named) else "normalised"


LEAST, UNSEEN, UNSEEN_ON_PATH = "least_r2", "explained_unseen_masks", "explained_on_path"
"""Metrics of fits to some masks: the R² that is needed, that over masks they never saw, and at the worst epoch."""
FITTED: Final = ("finetuned", "probe", "scratch", "second", "second_scratch", "null")
PERCENT = 100.0
ROLES = {"probe": "pretrained", "finetuned": "fine-tuned", "scratch": "from scratch"}
"""Roles of networks as people call them; the pretrained one is seen through its probe."""


class Comparison(NamedTuple):
    """What is compared: one model, from one source task to one target task."""

    source: str
    model: str
    target: str

    @property
    def title(self) -> str:
        """The comparison for people."""
        return f"{self.model}, {self.source} → {self.target}"

    @property
    def file(self) -> str:
        """The comparison as part of a file's name."""
        return "_".join(self)


def comparisons(table: pd.DataFrame) -> Iterator[Comparison]:
    """Yield the comparisons in a table, in its order."""
    names = table[list(Comparison._fields)].drop_duplicates()
    yield from (Comparison(*row) for row in names.itertuples(index=False, name=None))


def of(table: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Return the rows of one comparison."""
    return select(table, **comparison._asdict())


def init_epochs(table: pd.DataFrame) -> list[str]:
    """Return the source epochs of fine-tuning, ascending; `best` stands at its mean over networks."""
    rows = table[(table["role"] == "finetuned") & table["source_epoch"].notna()]
    epochs = rows[["init_epoch", "seed", "source_epoch"]].drop_duplicates()
    order = epochs.groupby("init_epoch")["source_epoch"].mean()
    return sorted(order.index, key=lambda name: (float(order[name]), name != "best"))


def init_epoch_title(init_epoch: str) -> str:
    """Return a source epoch as requested, for people."""
    return "source-best" if init_epoch == "best" else f"epoch {init_epoch}"


GIVEN = "the source networks are one: all begin with the same given weights"
"""The reason why there is no other source network, in the rows of that ceiling."""


def networks_text(number: int, measurements: pd.DataFrame) -> str:
    """Return what the networks are that intervals are over: runs of one backbone are no source networks."""
    if (measurements["reason"] == GIVEN).any():
        return f"{pluralize(number, 'fine-tuning run')} of one backbone"
    return pluralize(number, "source network")


def sample_size(rows: pd.DataFrame, measurements: pd.DataFrame) -> str:
    """Return how many networks and images the rows rest on, for a caption."""
    networks, n = int(rows["networks"].max()), int(rows["n"].max())
    images = n // max(networks, 1)
    return f"n = {networks_text(networks, measurements)} × {images} test images"


class Number(NamedTuple):
    """A measurement with its interval over images, in percent where it is a share."""

    value: float
    low: float
    high: float

    def text(self, unit: str = "%", digits: int = 1, signed: bool = False) -> str:
        """Return it as a person reads it."""
        return format_interval(
            self.value, self.low, self.high, digits=digits, signed=signed, unit=unit
        )


def number(rows: pd.DataFrame, factor: float = PERCENT) -> Number | None:
    """Return the measurement in the first of some rows; None where it is undefined."""
    if rows.empty or rows["value"].isna().all():
        return None
    first = rows.iloc[0]
    value, low, high = (factor * float(first[name]) for name in ("value", "low", "high"))
    return Number(value, low, high)


class Measured(ABC):
    """What claims read of one comparison."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The comparison for people."""

    @abstractmethod
    def found(self, metric: str, condition: str, role: str, variant: str) -> Number | None:
        """Return a measurement as `number` does, in the unit of the tables."""

    def number(
        self,
        metric: str,
        condition: str = MEASURED,
        role: str = "finetuned",
        variant: str = "",
        factor: float = PERCENT,
    ) -> Number | None:
        """Return a measurement over all orders, images and networks; None where it is undefined.

        It is of the variant that leads, where none is named.
        """
        found = self.found(metric, condition, role, variant)
        return found and Number(*(factor * each for each in found))


@dataclass(frozen=True)
class ComparedNetworks(Measured):
    """The measurements of one comparison, and the source epoch that claims are evaluated at."""

    table: pd.DataFrame
    init_epoch: str

    def found(self, metric: str, condition: str, role: str, variant: str) -> Number | None:
        """Return the measurement in the table."""
        rows = select(
            self.table,
            metric=metric,
            condition=condition,
            role=role,
            variant=variant or headline_of(self.table),
            init_epoch=self.init_epoch,
            subset="all",
            order=None,
            seed=None,
            target_epoch=None,
        )
        return number(rows, factor=1.0)

    @property
    def title(self) -> str:
        """The comparison for people."""
        return next(comparisons(self.table)).title


def above(number: Number, limit: float, below: bool = False) -> Status:
    """Return whether a number is larger than a limit, or `below` it, by where its interval lies."""
    higher, lower = number.low > limit, number.high < limit
    if not higher and not lower:
        return "undetermined"
    return "supported" if lower == below else "contradicted"


def result(status: Status, reason: str, number: Number) -> ClaimResult:
    """Return the result of a claim with its number."""
    return ClaimResult(status, reason, number.value, number.low, number.high)


def unmeasured(what: str) -> ClaimResult:
    """Return the result of a claim whose measurement is not there."""
    return ClaimResult(
        "not measured here", f"{what} is not in the tables, or undefined on every image."
    )
