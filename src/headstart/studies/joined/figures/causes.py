"""Which measure goes with the gain, and which intervention moves it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart.figures.facets import facets
from headstart.figures.labels import question, sample_size, write_caption, write_title
from headstart.figures.style import CYCLE, GREY, MARKERS, TWO_COLUMNS, paper_style
from headstart.statistics.intervals import mean_interval
from headstart.studies.joined.associations import MEASURES, OUTCOMES, of
from headstart.studies.joined.effects import INTERVENTIONS

RATES = {"fixed": "fixed rate", "tuned": "tuned rate"}
TITLES = dict(zip(OUTCOMES, ("gain at the fixed rate", "gain at the tuned rate"), strict=True))
LEFT = {"knowledge_left": "left of the knowledge", "preserved_taken": "taken of the preserved"}


def associations_figure(
    table: pd.DataFrame, comparison: tuple[str, ...]
) -> tuple[Figure, pd.DataFrame]:
    """Draw the rank correlation of every measure with both gains, within networks given epoch."""
    mine = of(table, comparison)
    with paper_style():
        figure, axes = facets(1, x="rank correlation within networks, given epoch", y="")
        figure.set_size_inches(TWO_COLUMNS, 0.24 * len(MEASURES) + 1.0)
        write_title(figure, _title(comparison, "what goes with the gain, at a given epoch?"))
        (axis,) = axes.flat
        for index, (outcome, title) in enumerate(TITLES.items()):
            rows = mine[mine["outcome"] == outcome].set_index("measure").reindex(list(MEASURES))
            # Without an interval the correlation is that of one or two networks.
            rho = rows["rho"].where(rows["low"].notna())
            _across(axis, rows.assign(middle=rho), index, title)
        axis.set_yticks(range(len(MEASURES)), list(MEASURES.values()))
        axis.invert_yaxis()
        axis.axvline(0, color=GREY, linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=len(TITLES), fontsize=7)
        networks = int(mine["networks"].max())
        write_caption(
            figure,
            f"{sample_size(networks)}. Ranks over networks within each epoch, each network's mean "
            "taken out; bars: 95 % jackknife intervals over networks. The first three are those of claims J1 to J3, "
            "named before looking; the others were not, and are corrected for nothing."
            + " No point: too few networks differ."
            * bool(mine["low"].isna().any()),
        )
    return figure, mine


def interventions_figure(
    effects: pd.DataFrame, comparison: tuple[str, ...], confidence: float
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw what each intervention does to accuracy, and what it leaves of the knowledge; nothing without any."""
    table = effects_table(of(effects, comparison), confidence)
    if table.empty:
        return None
    names = [name for name in INTERVENTIONS if name in set(table["intervention"])]
    epoch, networks = int(table["source_epoch"].max()), int(table["n"].max())
    with paper_style():
        figure, axes = facets(2, per_row=2, sharey=True)
        figure.set_size_inches(TWO_COLUMNS, 0.3 * len(names) + 1.2)
        write_title(figure, _title(comparison, f"what moves the gain from epoch {epoch}?"))
        changes = table[table["metric"] == "accuracy"]
        groups = (changes["rate"].map(RATES), table["metric"].map(LEFT))
        for axis, rows, group in zip(axes.flat, (changes, table), groups, strict=True):
            for index, (label, one) in enumerate(rows.groupby(group, sort=False)):
                _across(axis, one.set_index("intervention").reindex(names), index, str(label))
            axis.axvline(0, color=GREY, linewidth=0.8)
            axis.legend(fontsize=7, loc="best")
        axes.flat[0].set_yticks(range(len(names)), [INTERVENTIONS[name] for name in names])
        axes.flat[0].invert_yaxis()
        axes.flat[0].set_xlabel("change of test accuracy (points)")
        axes.flat[1].set_xlabel("share (%)")
        write_caption(
            figure,
            f"{sample_size(networks)}, all against the untouched start of the same network; bars: "
            f"{confidence:.0%} t-intervals over networks. Right, before fine-tuning: which share of the start's "
            "interactions the changed start still has above chance, through a head trained on its features (of an untouched "
            "start less than all, for two heads differ), and which share of the preserved ones a removal took (more than "
            "all where it went too far).",
        )
    return figure, table


def _title(comparison: tuple[str, ...], words: str) -> str:
    source, model, target, _ = comparison
    return question(source, [target], model, words)


def effects_table(effects: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return mean and interval over networks of every effect, accuracy in points, the rest in per cent."""
    rows = []
    keys = ["source_epoch", "intervention", "rate", "metric"]
    shown = effects[effects["metric"].isin(["accuracy", *LEFT])].dropna(subset="value")
    for names, group in shown.groupby(keys, sort=False):
        factor = 1.0 if names[-1] == "accuracy" else 100.0
        found = mean_interval(factor * group["value"], confidence)
        row = dict(zip(keys, names, strict=True))
        row |= {"middle": found.estimate, "low": found.low, "high": found.high, "n": found.n}
        rows.append(row)
    return pd.DataFrame(rows)


def _across(axis: Axes, rows: pd.DataFrame, index: int, label: str) -> None:
    """Draw `middle` of each row from left to right at its place, with bars from `low` to `high`."""
    places = [place + 0.22 * index - 0.11 for place in range(len(rows))]
    look: dict[str, Any] = {"fmt": MARKERS[index], "color": CYCLE[index]}
    look |= {"markersize": 4, "label": label}
    ends = rows[["low", "high"]].to_numpy(float).T
    bars = abs(ends - rows["middle"].to_numpy(float))
    axis.errorbar(rows["middle"], places, xerr=bars, elinewidth=1.1, capsize=2.5, **look)
