"""Figures of the invariance study: what they draw, what they leave empty, and the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invariance_tables import (
    EPOCHS,
    LAYERS,
    measurements,
    published,
    residuals,
    robustness,
    runs,
    second_model,
)
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from print_size import assert_fit_for_print

from headstart.figures import style
from headstart.figures.labels import caption_of
from headstart.studies.invariance.figures import dynamics as invariance_dynamics
from headstart.studies.invariance.figures import flow as invariance_flow
from headstart.studies.invariance.figures import layers as invariance_layers
from headstart.studies.invariance.figures import robustness as invariance_robustness
from headstart.studies.invariance.figures import shared as invariance
from headstart.studies.invariance.figures import trust as invariance_trust
from headstart.studies.invariance.layer_dynamics import correlations, papers_aggregate, transients

MEASURED, ROBUST, RUNS, PUBLISHED = measurements(), robustness(), runs(), published()
AGGREGATE = papers_aggregate(MEASURED, ROBUST)
Drawn = tuple[Figure, pd.DataFrame]


def every_figure() -> dict[str, Drawn | None]:
    return {
        "tasks": invariance_layers.layers_figure(
            MEASURED, RUNS, PUBLISHED, ("fine-tuned", "reconstructing")
        ),
        "starts": invariance_layers.layers_figure(
            MEASURED, RUNS, PUBLISHED, ("fine-tuned", "from scratch")
        ),
        "readings": invariance_layers.readings_figure(MEASURED, RUNS),
        "flow": invariance_flow.flow_figure(MEASURED, RUNS),
        "flow_published": invariance_flow.published_figure(PUBLISHED),
        "dynamics": invariance_dynamics.dynamics_figure(MEASURED, ROBUST, RUNS, PUBLISHED),
        "robustness": invariance_robustness.robustness_figure(
            AGGREGATE, transients(AGGREGATE), correlations(MEASURED, ROBUST), RUNS, PUBLISHED
        ),
        "trust": invariance_trust.trust_figure(MEASURED, residuals(), RUNS),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    return {name: each for name, each in every_figure().items() if each}


def test_every_figure_is_drawn_and_gives_the_same_bytes_twice(
    drawn: dict[str, Drawn], tmp_path: Path
) -> None:
    assert len(drawn) == 8
    # That of the fewest panels, because writing takes most of the time.
    again = invariance_layers.layers_figure(
        MEASURED, RUNS, PUBLISHED, ("fine-tuned", "reconstructing")
    )
    assert again
    for folder, (figure, table) in (("one", drawn["tasks"]), ("two", again)):
        style.save(figure, "tasks", table, tmp_path / folder, 40)
    plt.close("all")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_every_figure_is_fit_for_print(drawn: dict[str, Drawn]) -> None:
    for figure, _ in drawn.values():
        assert_fit_for_print(figure)


def test_layers_hold_means_runs_and_published_values(drawn: dict[str, Drawn]) -> None:
    table = drawn["tasks"][1]
    ours = table[(table["drawn"] == "here") & (table["series"] == "fine-tuned")]
    forgetting = ours[ours["metric"] == "forgetting"].sort_values("layer")
    ended = MEASURED.query(
        "metric == 'forgetting' and arm == 'finetune' and target_epoch == 21 and layer == reference_layer"
        " and condition == 'measured'"
    )
    np.testing.assert_allclose(forgetting["value"], ended.groupby("layer")["value"].mean())
    assert (forgetting["runs"] == 3).all()
    theirs = table[(table["drawn"] == "published") & (table["metric"] == "forgetting")]
    first = theirs[(theirs["series"] == "fine-tuned") & (theirs["layer"] == 1)]["value"].iloc[0]
    assert first == pytest.approx(0.1264)
    compared = table[(table["drawn"] == "published form") & (table["series"] == "fine-tuned")]
    compared = compared[compared["metric"] == "forgetting"].sort_values("layer")
    np.testing.assert_allclose(compared["value"], forgetting["value"] + 0.01)
    assert set(table["series"]) == {"fine-tuned", "reconstructing"}


def at_target(table: pd.DataFrame, target: str, source: str = "latin") -> pd.DataFrame:
    return table.assign(target=target, source=source)


def first_published(
    target: str, source: str, given: bool, does: str, metric: str = "forgetting"
) -> list[float]:
    """Return the published value at layer 1 that stands beside such runs."""
    moved = [
        at_target(table, target, source).assign(given_weights=given) for table in (MEASURED, RUNS)
    ]
    table = invariance_layers.layers_table(*moved, PUBLISHED, (does,))
    theirs = table[(table["drawn"] == "published") & (table["layer"] == 1)]
    return theirs.loc[theirs["metric"] == metric, "value"].tolist()


@pytest.mark.parametrize(
    ("target", "source", "given", "does", "figure", "series"),
    [
        ("cifar10", "cifar10", True, "fine-tuned", "fig1_cifar10_a", "classify"),
        ("cifar100", "cifar10", True, "fine-tuned", "fig7_cifar100_a", "classify"),
        ("cifar100", "cifar10", True, "reconstructing", "fig7_cifar100_a", "reconstruct"),
        ("pet", "cifar10", True, "fine-tuned", "fig9_pets_a", "classify"),
        ("eurosat", "cifar10", True, "reconstructing", "fig8_eurosat_a", "reconstruct"),
        ("cifar10", "cifar100", False, "fine-tuned", "fig2a_cifar10", "other_cifar"),
        ("cifar100", "cifar10", False, "fine-tuned", "fig2b_cifar100", "other_cifar"),
        ("cifar100", "cifar10", False, "from scratch", "fig2b_cifar100", "random"),
        ("cyrillic", "latin", False, "fine-tuned", "fig1_cifar10_a", "classify"),
    ],
)
def test_published_values_are_those_of_the_target_and_of_what_runs_start_from(
    target: str, source: str, given: bool, does: str, figure: str, series: str
) -> None:
    rows = PUBLISHED[
        (PUBLISHED["figure"] == figure) & (PUBLISHED["series"] == f"{series}.forgetting")
    ]
    expected = rows.loc[rows["x"].astype(float) == 1, "value"].tolist()
    assert len(expected) == 1
    assert first_published(target, source, given, does) == expected


def test_no_published_value_stands_beside_what_the_paper_has_not_done() -> None:
    assert first_published("pet", "cifar10", False, "from scratch") == []


def test_two_models_are_drawn_apart_each_beside_its_own_published_values() -> None:
    measured, listed = (
        second_model(at_target(table, "cifar10", "cifar100"), 2) for table in (MEASURED, RUNS)
    )
    drawn = invariance_layers.layers_figure(
        measured, listed, PUBLISHED, ("fine-tuned", "reconstructing")
    )
    assert drawn
    table = drawn[1][drawn[1]["metric"] == "forgetting"]
    trained, given = "fine-tuned (cifar100, vit)", "fine-tuned (photos, imagenet)"
    here = table[table["drawn"] == "here"].pivot(index="layer", columns="series", values="value")
    np.testing.assert_allclose(here[given], 2 * here[trained])
    starts = table[table["drawn"] == "published"].groupby("series")["start"].first()
    assert (starts[trained], starts[given]) == ("the other CIFAR", "ImageNet")
    looks = invariance.looks_of(table)
    assert len(set(looks.values())) == len(looks) == 4
    assert "n = 6 source networks" in words(drawn[0])
    trust = invariance_trust.trust_table(measured, second_model(residuals()), listed)
    assert {"pretrained (cifar100, vit)", "pretrained (photos, imagenet)"} <= set(trust["series"])
    flow = invariance_flow.flow_table(measured, listed)
    assert {trained, given} < set(flow["series"])
    plt.close("all")


def test_published_numbers_are_drawn_as_the_paper_gives_them(drawn: dict[str, Drawn]) -> None:
    flow = drawn["flow_published"][1]
    for name, cell, value in (
        ("fig4a_flow_cifar10_classify", (9, 6), 0.06),
        ("fig4b_flow_cifar10_reconstruct", (7, 3), 0.07),
    ):
        rows = flow[(flow["series"] == name) & (flow["layer"] < flow["reference_layer"])]
        largest = rows.loc[rows["value"].idxmax()]
        assert (largest["reference_layer"], largest["layer"]) == cell
        assert largest["value"] == pytest.approx(value, abs=0.005)
    prefix = drawn["robustness"][1].query("drawn == 'published prefix'")
    third = prefix.loc[prefix["epoch"].round() == 3, "cifar10"]
    assert third.tolist() == pytest.approx([0.954], abs=0.001)
    dynamics = drawn["dynamics"][1].query("drawn == 'published' and metric == 'accuracy'")
    clean = dynamics.query("level == 0 and target_epoch == 100")["value"]
    assert clean.tolist() == pytest.approx([0.973], abs=0.001)


def test_flow_and_dynamics_of_cifar100_stand_beside_those_of_cifar100() -> None:
    flow = invariance_flow.published_figure(PUBLISHED, ["cifar100", "pet"])[1]
    assert set(flow["series"]) == {
        "fig10a_flow_cifar100_classify",
        "fig10b_flow_cifar100_reconstruct",
    }
    assert flow["value"].max() == pytest.approx(0.10, abs=0.005)
    clean = invariance_dynamics.published_table(PUBLISHED, "cifar100").query(
        "metric == 'accuracy' and level == 0"
    )
    rows = PUBLISHED[
        (PUBLISHED["figure"] == "fig13_accuracy_cifar100") & (PUBLISHED["series"] == "clean")
    ]
    assert clean["value"].tolist() == rows["value"].tolist()
    plt.close("all")


def test_the_published_form_of_ours_is_drawn_beside_the_published_correlations(
    drawn: dict[str, Drawn],
) -> None:
    table = drawn["robustness"][1]
    assert table.loc[table["drawn"] == "epochs", "std_forgetting_paper"].notna().all()
    assert table.loc[table["drawn"] == "prefix", "r_paper"].notna().all()
    lines = drawn["dynamics"][1].query("drawn == 'published form' and series == 'fine-tuned'")
    assert set(lines["metric"]) == {"forgetting", "learning", "cka_divergence"}
    assert set(lines["target_epoch"]) == set(EPOCHS)


def test_arms_that_break_the_data_processing_check_are_flagged(drawn: dict[str, Drawn]) -> None:
    caption = " ".join(words(drawn["trust"][0]).split())
    assert "Flagged by the data-processing check" in caption
    assert "finetune (25%)" in caption
    fine = invariance_trust.trust_figure(MEASURED, residuals(), RUNS.assign(broken_ft=0.0))
    assert "No arm breaks the data-processing check" in " ".join(words(fine[0]).split())
    plt.close("all")


def test_flow_marks_what_lies_beyond_zero_in_every_network(drawn: dict[str, Drawn]) -> None:
    table = drawn["flow"][1].query("metric == 'excess_compression' and series == 'fine-tuned'")
    earlier = table["layer"] < table["reference_layer"]
    assert table["value"].notna().tolist() == earlier.tolist()
    assert table.loc[earlier, "beyond_zero"].all()
    weaker = MEASURED.assign(low=np.where(MEASURED["seed"] == 1, -1, MEASURED["low"]))
    again = invariance_flow.flow_table(weaker, RUNS)
    assert not again.loc[again["metric"] == "excess_compression", "beyond_zero"].any()


def test_dynamics_have_a_row_of_published_values_and_clean_accuracy(
    drawn: dict[str, Drawn],
) -> None:
    table = drawn["dynamics"][1]
    assert "published, ViT-B/32,\nImageNet to CIFAR-10" in set(table["series"])
    tuned = table[(table["series"] == "fine-tuned") & (table["metric"] == "accuracy")]
    assert set(tuned["level"]) == set(range(6))
    assert set(tuned["target_epoch"]) == set(EPOCHS)
    caption = words(drawn["dynamics"][0])
    assert "not measured\non the way" not in caption
    assert "no classes" in caption


def test_learning_that_was_not_followed_is_said_to_be_so() -> None:
    learning = MEASURED["metric"].isin(["learning", "learning_paper"])
    without = MEASURED[
        ~learning | ((MEASURED["target_epoch"] == EPOCHS[-1]) & (MEASURED["arm"] != "finetune"))
    ]
    made = invariance_dynamics.dynamics_figure(without, ROBUST, RUNS, PUBLISHED)
    assert made
    assert "not measured\non the way" in words(made[0])
    plt.close("all")


def test_figures_without_anything_to_draw_are_left_out() -> None:
    alone = runs(("scratch",))
    table = measurements(("scratch",))
    names = ("fine-tuned", "reconstructing")
    assert invariance_layers.layers_figure(table, alone, PUBLISHED, names) is None
    at_end = MEASURED[MEASURED["target_epoch"] == EPOCHS[-1]]
    nothing = ROBUST.iloc[:0]
    assert invariance_dynamics.dynamics_figure(at_end, nothing, RUNS, PUBLISHED) is None
    none = papers_aggregate(at_end, nothing)
    found = invariance_robustness.robustness_figure(
        none, transients(none), correlations(at_end, nothing), RUNS, PUBLISHED
    )
    assert found is None


def test_captions_say_how_many_networks_and_images(drawn: dict[str, Drawn]) -> None:
    for name in ("tasks", "readings", "flow", "dynamics", "trust"):
        caption = " ".join(words(drawn[name][0]).split())
        assert "n = 3 source networks, 64 test images × 2 inversion seeds" in caption, name
    assert "n = 6 runs of 12 epochs each" in " ".join(words(drawn["robustness"][0]).split())


def test_readings_stand_beside_what_the_embedding_alone_forgets() -> None:
    everything = MEASURED[MEASURED["metric"] == "forgetting"].assign(tokens="all")
    both = pd.concat([MEASURED, everything.assign(value=everything["value"] / 10)])
    found = invariance_layers.readings_figure(both, RUNS)
    assert found is not None
    table = found[1].set_index(["tokens", "series", "replaced", "layer"])["value"]
    place = ("fine-tuned", "the whole run")
    for layer in (1, 4):
        assert table["all", *place, layer] == pytest.approx(table["class", *place, layer] / 10)
    assert table["class", "fine-tuned", "its embedding alone", 2] == pytest.approx(0.02)
    assert [axis.get_title("left") for axis in found[0].axes] == ["Class token", "All tokens"]
    plt.close(found[0])


def test_two_arms_that_do_the_same_go_by_their_own_names() -> None:
    twice = pd.concat([MEASURED, MEASURED[MEASURED["arm"] == "finetune"].assign(arm="slower")])
    both = pd.concat([RUNS, RUNS[RUNS["arm"] == "finetune"].assign(arm="slower")])
    table = invariance_flow.flow_table(twice, both)
    assert {"finetune", "slower", "reconstructing", "from scratch"} == set(table["series"])
    assert table["layer"].max() == LAYERS


def words(figure: Figure) -> str:
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    return "\n".join([*texts, caption_of(figure)])
