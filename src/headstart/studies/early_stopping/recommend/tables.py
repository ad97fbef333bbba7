"""Tables of a study: what every rule loses out of sample, and what the recommender names for every network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from headstart.statistics.words import pluralize
from headstart.studies.early_stopping.recommend.atlas import CANDIDATE, CELL, halved
from headstart.studies.early_stopping.recommend.calibration import (
    Calibration,
    Forecast,
    hesitation,
)
from headstart.studies.early_stopping.recommend.judge import (
    BUDGET,
    LEAST_NETWORKS,
    SUMMARY,
    TUNED,
    coverage,
    forecasts,
    judge,
    judgeable,
    reference_of,
    summary,
)
from headstart.studies.early_stopping.recommend.model import CELL_NUMBER, Recall, numbered
from headstart.studies.early_stopping.recommend.rules import RECOMMEND, Rule, with_rules
from headstart.studies.early_stopping.recommend.splits import (
    TOGETHER,
    Fold,
    HeldOut,
    Split,
    held_out,
    parts,
    primary,
    splits,
)
from headstart.studies.early_stopping.recommend.study_runs import Artifacts, protocols

SUBJECT = ["source", "model", "arm"]
CHOICES = [*SUBJECT, "split", "left_out", "reference", *SUMMARY, "held", "half_width", "reason"]
FORECAST = ["expected", "low", "high", "probability", "taught_by", "cost"]
RECOMMENDATIONS = ["arm", *CELL, *CANDIDATE, *FORECAST, "reached", "hesitation"]
FEW = 12
"""With more networks an interval rests on choices that others teach alone: short runs of all pairs take too long."""


def choice_tables(
    artifacts: Artifacts, named: Any, log: Callable[[str], None] = lambda _: None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of rules and that of recommendations of a study; `named` is its primary contrast.

    Every network is left out in turn. Where a target, rates, a number of shots or a recipe are left out too,
    networks are left out in three parts.
    """
    judged, recommended = [pd.DataFrame(columns=CHOICES)], [pd.DataFrame(columns=RECOMMENDATIONS)]
    for protocol, runs in protocols(artifacts):
        atlas = halved(runs)
        for (source, model), mine in atlas.groupby(["source", "model"], sort=False):
            names = {"source": str(source), "model": str(model), "arm": protocol["arm"]}
            subject = Subject(names, atlas, mine.index, named)
            rules, found = subject.tables()
            judged.append(rules.assign(**names))
            recommended.append(found.assign(**names))
            log(f"{source}, {model}, {protocol['arm']}: {subject.about}")
    choices, recommendations = (
        pd.concat([each for each in tables if len(each)] or tables, ignore_index=True)
        for tables in (judged, recommended)
    )
    return choices.reindex(columns=CHOICES), recommendations.reindex(columns=RECOMMENDATIONS)


@dataclass
class Subject:
    """The networks of one source and model, which are judged, among all networks of their protocol."""

    names: dict[str, str]
    atlas: pd.DataFrame
    index: pd.Index
    named: Any
    about: str = ""

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return what rules lose, and what is recommended; one row with the reason where nothing can be judged."""
        mine = self.atlas.loc[self.index]
        reference = reference_of(mine)
        networks = mine.loc[judgeable(mine, reference), "seed"].nunique()
        if networks < LEAST_NETWORKS:
            self.about = (
                f"{pluralize(networks, 'network')} with several starts, {LEAST_NETWORKS} are the least to judge "
                "rules by"
            )
            return pd.DataFrame([{"reason": self.about}]), pd.DataFrame()
        self.about = f"rules judged on {pluralize(networks, 'network')}, against {reference}"
        ruled, rules = with_rules(mine)
        atlas = pd.concat([ruled, self.atlas.drop(self.index)])
        return self._judged(atlas, rules, reference)

    def _judged(
        self, atlas: pd.DataFrame, rules: list[Rule], reference: str
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        atlas = atlas.assign(**{CELL_NUMBER: numbered(atlas, CELL)})
        own = pd.Series(atlas.index.isin(self.index), atlas.index)
        seeds = list(atlas.loc[own, "seed"].unique())
        recall, found, recommended = Recall(atlas), [], pd.DataFrame()
        for split in splits(
            atlas, self._held_out(atlas), parts(seeds, len(seeds)), parts(seeds, TOGETHER)
        ):
            folds = [Fold(fold.teaching, fold.judged & own) for fold in split.folds]
            split = replace(split, folds=tuple(fold for fold in folds if fold.judged.any()))
            alone = split.question == "new networks"
            choices = judge(atlas, split, rules, reference, recall.without() if alone else None)
            if len(choices):
                table = summary(choices)
                if alone:
                    said = pd.concat(_forecasts(choices, atlas, own, recall), ignore_index=True)
                    table = table.merge(_held(said), how="left")
                    recommended = _recommended(said[said["regime"] == TUNED])
                found.append(_of_split(table, split, reference))
        return pd.concat(found, ignore_index=True), recommended

    def _held_out(self, atlas: pd.DataFrame) -> HeldOut:
        """Return what is left out of what teaches this model: among recipes it is itself."""
        model = self.names["model"]
        shots = str(self.named.shots) if self.named else ""
        _, shots = primary(self.atlas.loc[self.index], {"model": model, "shots": shots})
        out = held_out(atlas, model, shots)
        return replace(out, recipe=model if atlas["model"].nunique() > 1 else "")


def _of_split(table: pd.DataFrame, split: Split, reference: str) -> pd.DataFrame:
    about = {"split": split.question, "left_out": split.left_out, "reference": reference}
    return table.assign(**about, reason="")


def _forecasts(
    choices: pd.DataFrame, atlas: pd.DataFrame, own: pd.Series, recall: Recall
) -> Iterator[pd.DataFrame]:
    """Yield the recommender's choices for every network with forecasts that the other networks calibrate."""
    mine = choices[choices["rule"] == RECOMMEND]
    short = atlas["seed"].nunique() <= FEW
    for seed, rows in mine.groupby("seed"):
        others = atlas["seed"] != seed if short else (atlas["seed"] != seed) & own
        told = recall.without(str(seed))[others]
        for tuned in (False, True):
            calibration = Calibration(atlas[others], tuned, BUDGET, told, short_runs=short)
            yield forecasts(rows[(rows["regime"] == TUNED) == tuned], calibration)


def _held(said: pd.DataFrame) -> pd.DataFrame:
    """Return, by regime, the percentage of intervals that hold what was reached, and their half-width in points."""
    table = coverage(said)
    return pd.DataFrame(
        {
            "regime": table["regime"],
            "rule": RECOMMEND,
            "held": 100 * table["held"],
            "half_width": table["half_width"],
        }
    )


def _recommended(said: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network, target, shots and draw; accuracies are fractions."""
    rows = said.rename(columns={"test_accuracy": "reached"}).reset_index(drop=True)
    said_of = ["low", "high", "probability", "taught_by", "target"]
    rows["hesitation"] = [
        hesitation(Forecast(float(low), float(high), float(share), int(number)), str(target))
        for low, high, share, number, target in rows[said_of].itertuples(index=False)
    ]
    return rows.sort_values(CELL)
