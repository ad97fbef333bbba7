"""Figures of the knowledge study: what they draw, from tables whose numbers are known."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
import pytest
from print_size import assert_fit_for_print

from headstart.figures.labels import caption_of
from headstart.studies.knowledge.figures import exclusivity as knowledge_exclusivity
from headstart.studies.knowledge.figures import learning_dynamics as knowledge_dynamics
from headstart.studies.knowledge.figures import orders as knowledge_orders
from headstart.studies.knowledge.figures import sparsity as knowledge_sparsity
from headstart.studies.knowledge.figures import summary as knowledge_summary
from headstart.studies.knowledge.tables import Comparison, comparisons, init_epochs

mpl.use("Agg")
NAME = Comparison("latin", "convnet", "cyrillic")
ORDERS = (1, 2, 3)


def row(metric: str, value: float, **names: object) -> dict[str, object]:
    base = {**NAME._asdict(), "role": "finetuned", "seed": None, "init_epoch": "best"}
    base |= {"source_epoch": 20.0, "target_epoch": None, "split": "test", "subset": "all"}
    base |= {"metric": metric, "order": None, "variant": "normalised", "condition": "measured"}
    numbers = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {**base, **numbers, "n": 20, "networks": 2, "undefined": 0, "reason": "", **names}


@pytest.fixture(scope="module")
def measurements() -> pd.DataFrame:
    rows = []
    for condition in ("measured", "null_permuted", "null_other_image", "ceiling_second_run"):
        for order in ORDERS:
            for part in ("preserved", "discarded", "new"):
                rows.append(row(f"strength_{part}", 0.1 * order, condition=condition, order=order))
            rows.append(row("preserved_of_pretrained", 0.3, condition=condition, order=order))
        for init_epoch, epoch in (("best", 20.0), ("1", 1.0)):
            where = {"init_epoch": init_epoch, "source_epoch": epoch, "condition": condition}
            rows.append(row("exclusivity", 0.35, **where))
            rows.append(row("preserved_of_pretrained", 0.3, **where))
    for network in ("finetuned", "scratch"):
        for epoch in (0, 1, 4):
            for target in ("own_end", "second_end"):
                for condition in ("measured", "null_permuted"):
                    value = epoch / 4 if condition == "measured" else 0.15
                    where = {"role": network, "target_epoch": epoch, "condition": condition}
                    rows.append(row(f"similarity_to_{target}", value, **where))
            for seed in (0, 1):
                where = {"role": network, "target_epoch": epoch, "seed": seed, "variant": ""}
                where |= {"split": "validation", "condition": "", "networks": 1, "n": 0}
                rows.append(row("loss", 3 - epoch / 2, **where))
                rows.append(row("accuracy", epoch / 5, **where))
    for network in ("probe", "finetuned", "scratch"):
        for seed in (0, 1):
            where = {"role": network, "seed": seed, "target_epoch": 4, "variant": ""}
            rows.append(row("accuracy_at_validation_best", 0.7 + seed / 10, **where))
    rows.append(row("margin_of_everything", 2.5, variant="raw"))
    integers = dict.fromkeys(("seed", "order", "target_epoch"), "Int64")
    return pd.DataFrame(rows).astype(integers)


@pytest.fixture(scope="module")
def example() -> tuple[pd.DataFrame, pd.DataFrame]:
    pixels = [
        {**NAME._asdict(), "row": r, "column": c, "player": (r // 2) * 2 + c // 2 - 1}
        | {"channel_0": 20 * r + c}
        for r in range(4)
        for c in range(4)
    ]
    parts = [("preserved", 1, "0 2", 2, 1.5), ("new", 1, "1", 1, -0.7)]
    names = ["part", "rank", "players", "order", "value"]
    strongest = pd.DataFrame(parts, columns=names).assign(
        label="Д", init_epoch="best", **NAME._asdict()
    )
    return pd.DataFrame(pixels), strongest


def test_orders_draw_percent_of_the_main_start_and_say_how_many_speak(
    measurements: pd.DataFrame, example: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    figure, table = knowledge_orders.orders_figure(measurements, *example, NAME, 0.95)
    assert_fit_for_print(figure)
    assert set(table["init_epoch"]) == {"best"}
    shares = table[table["metric"] == "preserved_of_pretrained"]
    assert shares["value"].tolist() == pytest.approx([30.0] * len(shares))
    caption = caption_of(figure)
    assert "n = 2 source networks × 10 test images" in caption
    assert "one image in each part, in log-odds and not normalised" in caption
    titles = [axis.get_title(loc="center") for axis in figure.axes]
    assert {"“Д”", "preserved\n+1.50, order 2", "new\n−0.70, order 1"} <= set(titles)


def test_exclusivity_draws_starts_by_epoch_between_nulls_and_ceilings(
    measurements: pd.DataFrame,
) -> None:
    assert init_epochs(measurements) == ["1", "best"]
    figure, table = knowledge_exclusivity.exclusivity_figure(measurements, 0.95)
    assert_fit_for_print(figure)
    upper, lower = figure.axes
    assert [tick.get_text() for tick in lower.get_xticklabels()] == ["1", "best"]
    ratios = table[table["metric"] == "exclusivity"]
    assert ratios["value"].tolist() == pytest.approx([35.0] * 8)
    assert {"pretrained", "fine-tuned"} <= {
        text.removeprefix("accuracy, ") for text in lower.get_legend_handles_labels()[1]
    }
    names = upper.get_legend_handles_labels()[1]
    assert [name for name in names if "null" in name] == [
        "null: permuted within orders",
        "null: other image",
    ]
    lines = [line for line in upper.lines if line.get_label() == "null: other image"]
    assert [line.get_ydata().tolist() for line in lines] == [pytest.approx([35.0, 35.0])]
    bands = [tuple(part.get_datalim(upper.transData).intervaly) for part in upper.collections]
    assert any(band == pytest.approx((34.0, 36.0)) for band in bands)


def test_the_way_to_the_end_draws_both_targets_and_what_was_learnt(
    measurements: pd.DataFrame,
) -> None:
    assert knowledge_dynamics.followed(measurements, NAME) == ["best"]
    figure, table = knowledge_dynamics.dynamics_figure(measurements, NAME, "best", 0.95)
    assert_fit_for_print(figure)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [
        "Similarity to its own end",
        "To the end of a second run",
        "Loss",
        "Accuracy",
    ]
    accuracy = table[(table["metric"] == "accuracy") & (table["target_epoch"] == 4)]
    assert accuracy["value"].tolist() == pytest.approx([80.0] * 4)


def test_sparsity_draws_the_best_start_of_every_comparison() -> None:
    kept = [1, 3, 7]
    rows = [
        {**NAME._asdict(), "role": network, "init_epoch": init_epoch, "kept": k, "images": 10}
        | {"source_epoch": 1.0 if init_epoch == "1" else 20.0}
        | {"strength": 1 / k, "strength_low": 0.5 / k, "strength_high": 1 / k}
        | {"explained": k / 7, "explained_low": k / 8, "explained_high": k / 7}
        | {"permuted_explained": 0.1, "permuted_explained_walsh": 0.3}
        | {"explained_walsh": k / 7, "explained_walsh_low": k / 8, "explained_walsh_high": k / 7}
        for network in ("probe", "finetuned", "scratch")
        for init_epoch in ("1", "best")
        for k in kept
    ]
    figure, table = knowledge_sparsity.sparsity_figure(pd.DataFrame(rows), 0.95)
    assert_fit_for_print(figure)
    assert set(table["init_epoch"]) == {"best"}
    assert [axis.get_title(loc="left") for axis in figure.axes[1:]] == [
        "AND terms, fitted",
        "Walsh coefficients",
    ]


def test_summaries_have_a_row_for_each_start_and_leave_gaps_where_nothing_was_measured(
    measurements: pd.DataFrame,
) -> None:
    assert list(comparisons(measurements)) == [NAME]
    shares = knowledge_summary.shares(measurements)
    first = shares[shares["share"].str.startswith("of the preserved")].iloc[0]
    assert first["here"] == "35.0 [34.0, 36.0]"
    assert first["chance: random backbone"] == "–"
    margins = knowledge_summary.counterfactual(measurements)
    assert margins["interactions"].tolist() == ["as they are", "normalised"] * 2
    assert margins["all interactions"].tolist() == ["–", "–", "2.5 [2.5, 2.5]", "–"]
