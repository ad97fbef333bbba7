"""What the report shows of the early-stopping study beside its claims and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from headstart.figures.page import escape, section, table
from headstart.statistics.words import format_interval
from headstart.studies.early_stopping.figures import choices, verdicts
from headstart.studies.early_stopping.figures.prepare import CONTRAST

OF_NETWORK = ["source", "model"]
OF_ARM = ["target", "arm", "mode", "target_dataset", "target_classes", "target_training"]


def opening(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield what pre-training is worth, then the verdicts on its starts."""
    yield from _pretraining(tables)
    found = tables["verdicts"]
    first = [f"<p class=primary>{text}</p>" for text in _sentences(found, primary=True)]
    note = (
        "Effects are percentage points of test accuracy over the start from the source-best epoch, with their "
        "95 % interval, which pays for the choice of the epoch; detectable is the gain that these runs find with "
        "a power of 80 %; n is source networks × draws of the target images. Rate: tuned for every start, as in "
        "practice, or the highest for all, as in the paper's protocol. The primary contrast was named before "
        "looking; all others are corrected for their number."
    )
    yield from section(
        "Verdicts",
        [*first, table(verdicts.summary(found), "verdicts"), f"<p class=note>{note}</p>"],
    )


def _pretraining(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield the gain over tuned scratch of every contrast, in words for the primary one."""
    found, verdicts_on = tables["pretraining"], tables["verdicts"]
    if found.empty:
        return
    primary = verdicts_on.loc[verdicts_on["primary"], CONTRAST].drop_duplicates()
    first = found.merge(primary.astype(str)) if len(primary) else found.iloc[:0]
    words = [f"<p class=primary>{escape(reason)}</p>" for reason in first["reason"]]
    intervals = found[["gain", "low", "high"]].to_numpy(float)
    shown = found[[*CONTRAST, "start"]].assign(
        result=found["status"],
        gain=[format_interval(*row, signed=True, unit="points") for row in intervals],
        n=found["n"].astype(object).fillna("–"),
        worth=found["worth"].replace("", "–"),
        beware=found["flags"].replace("", "–"),
    )
    note = (
        "Gain in test accuracy of the start that validation picks over training from scratch, the rate of both "
        "chosen on validation images, with its 95 % interval, which pays for the choice of the start. Worth: the "
        "images per class with which training from scratch does as well. One contrast at a time, not corrected "
        "for their number."
    )
    yield from section(
        "Does pre-training help?", [*words, table(shown, "gains"), f"<p class=note>{note}</p>"]
    )


def closing(tables: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yield what rules that choose a checkpoint lose, the other verdicts in words, and how networks were trained: a column for each, and a table of targets."""
    yield from _choices(tables["choices"])
    others = [f"<p class=note>{text}</p>" for text in _sentences(tables["verdicts"], primary=False)]
    if others:
        yield from section("All other verdicts in words", others)
    described = tables["settings"]
    note = "Settings at their default are left out."
    networks = described.drop(columns=OF_ARM).drop_duplicates()
    names = networks[OF_NETWORK].astype(str).agg(", ".join, axis=1)
    turned = networks.drop(columns=OF_NETWORK).T.set_axis(names, axis=1)
    turned.insert(0, "", [_words(name) for name in turned.index])
    targets = described[[*OF_NETWORK, *OF_ARM]].rename(columns=_words)
    shown = [table(one, "settings") for one in (turned, targets)]
    yield from section("How networks were trained", [*shown, f"<p class=note>{note}</p>"])


def _choices(found: pd.DataFrame) -> Iterator[str]:
    """Yield what rules that choose a checkpoint lose out of sample, first in words."""
    parts = []
    for name, mine in choices.subjects(found):
        parts.append(f"<p class=primary>{escape(choices.sentence(mine))}</p>")
        parts.append(table(choices.summary(mine), f"choices {name}"))
        beyond = choices.elsewhere(mine)
        if len(beyond):
            parts.append(table(beyond, f"choices beyond networks {name}"))
    reasons = found.loc[found["regret"].isna(), "reason"].dropna().unique()
    parts += [f"<p class=note>{escape(reason)}</p>" for reason in reasons]
    note = (
        "Points of test accuracy that a rule loses, with 95 % intervals over networks; each network was left out of "
        "what teaches. Where networks have several draws of the target images, a rule sees one, and is read on half of "
        "them, as is the checkpoint that is best on the other half; with one draw the reference is what validation "
        "prefers after everything was fine-tuned. Cost: target epochs, of those of fine-tuning every checkpoint at "
        "every rate in question. In the second table a target, rates, a number of shots or a recipe are left out too."
    )
    if parts:
        parts.append(f"<p class=note>{note}</p>")
        yield from section("Which checkpoint to fine-tune?", parts)


def _sentences(found: pd.DataFrame, *, primary: bool) -> list[str]:
    rows = found[found["primary"].astype(bool) == primary].to_dict("records")
    return [escape(verdicts.sentence(row)) for row in rows]


def _words(column: str) -> str:
    return column.replace("_", " ")
