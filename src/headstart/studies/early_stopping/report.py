"""What the report shows of the early-stopping study beside its claims and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from headstart.figures.page import escape, section, table
from headstart.studies.early_stopping.figures import verdicts

OF_NETWORK = ["source", "model"]
OF_ARM = ["target", "arm", "mode", "target_dataset", "target_classes", "target_training"]


def opening(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield the verdicts."""
    found = tables["verdicts"]
    sentences = [
        f"<p{' class=primary' if row['primary'] else ''}>{escape(verdicts.sentence(row))}</p>"
        for row in found.to_dict("records")
    ]
    note = (
        "Effects are percentage points of test accuracy over the start from the source-best epoch, with their "
        "95 % interval, which pays for the choice of the epoch; detectable is the gain that these runs find with "
        "a power of 80 %; n is source networks × draws of the target images. Rate: tuned for every start, as in "
        "practice, or the highest for all, as in the paper's protocol. The primary contrast was named before "
        "looking; all others are corrected for their number."
    )
    yield from section(
        "Verdicts", [*sentences, table(verdicts.summary(found)), f"<p class=note>{note}</p>"]
    )


def closing(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield how networks were trained."""
    described = tables["settings"]
    note = "Settings at their default are left out."
    networks = described.drop(columns=OF_ARM).drop_duplicates()
    tables_of = [networks, described[[*OF_NETWORK, *OF_ARM]]]
    shown = [table(one.rename(columns=_words), "settings") for one in tables_of]
    yield from section("How networks were trained", [*shown, f"<p class=note>{note}</p>"])


def _words(column: str) -> str:
    return column.replace("_", " ")
