"""Figures of the invariance study: what they draw, what they leave empty, and the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invariance_tables import EPOCHS, LAYERS, measurements, published, residuals, robustness, runs
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from headstart.figures import (
    invariance_dynamics,
    invariance_flow,
    invariance_layers,
    invariance_robustness,
    invariance_trust,
    style,
)
from headstart.statistics.layer_dynamics import correlations, papers_aggregate, transients

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
    assert len(drawn) == 7
    again = invariance_flow.flow_figure(MEASURED, RUNS)
    assert again
    for folder, (figure, table) in (("one", drawn["flow"]), ("two", again)):
        style.save(figure, "flow", table, tmp_path / folder, 40)
    plt.close("all")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_layers_hold_means_runs_and_published_values(drawn: dict[str, Drawn]) -> None:
    table = drawn["tasks"][1]
    ours = table[(table["drawn"] == "here") & (table["series"] == "fine-tuned")]
    forgetting = ours[ours["measure"] == "forgetting"].sort_values("layer")
    ended = MEASURED.query(
        "measure == 'forgetting' and arm == 'finetune' and target_epoch == 13 and layer == reference_layer"
    )
    np.testing.assert_allclose(forgetting["value"], ended.groupby("layer")["value"].mean())
    assert (forgetting["runs"] == 3).all()
    theirs = table[(table["drawn"] == "published") & (table["measure"] == "forgetting")]
    first = theirs[(theirs["series"] == "fine-tuned") & (theirs["layer"] == 1)]["value"].iloc[0]
    assert first == pytest.approx(0.1264)
    assert set(table["series"]) == {"fine-tuned", "reconstructing"}


def test_flow_marks_what_lies_beyond_zero_in_every_network(drawn: dict[str, Drawn]) -> None:
    table = drawn["flow"][1].query("measure == 'excess_compression' and series == 'fine-tuned'")
    earlier = table["layer"] < table["reference_layer"]
    assert table["value"].notna().tolist() == earlier.tolist()
    assert table.loc[earlier, "beyond_zero"].all()
    weaker = MEASURED.assign(low=np.where(MEASURED["seed"] == 1, -1, MEASURED["low"]))
    again = invariance_flow.flow_table(weaker, RUNS)
    assert not again.loc[again["measure"] == "excess_compression", "beyond_zero"].any()


def test_dynamics_have_a_row_of_published_values_and_clean_accuracy(
    drawn: dict[str, Drawn],
) -> None:
    table = drawn["dynamics"][1]
    assert invariance_dynamics.PUBLISHED_NAME in set(table["series"])
    tuned = table[(table["series"] == "fine-tuned") & (table["measure"] == "accuracy")]
    assert set(tuned["level"]) == set(range(6))
    assert set(tuned["target_epoch"]) == set(EPOCHS)
    said = words(drawn["dynamics"][0])
    assert "not measured\non the way" not in said
    assert "no classes" in said


def test_learning_that_was_not_followed_is_said_to_be_so() -> None:
    ended = (MEASURED["measure"] != "learning") | (MEASURED["target_epoch"] == EPOCHS[-1])
    without = MEASURED[
        ended & ~((MEASURED["measure"] == "learning") & (MEASURED["arm"] == "finetune"))
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
    for name in ("tasks", "flow", "dynamics", "trust"):
        said = " ".join(words(drawn[name][0]).split())
        assert "n = 3 source networks, 64 test images × 2 inversion seeds" in said, name
    assert "n = 6 runs of 6 epochs each" in " ".join(words(drawn["robustness"][0]).split())


def test_two_arms_that_do_the_same_go_by_their_own_names() -> None:
    twice = pd.concat([MEASURED, MEASURED[MEASURED["arm"] == "finetune"].assign(arm="slower")])
    both = pd.concat([RUNS, RUNS[RUNS["arm"] == "finetune"].assign(arm="slower")])
    table = invariance_flow.flow_table(twice, both)
    assert {"finetune", "slower", "reconstructing", "from scratch"} == set(table["series"])
    assert table["layer"].max() == LAYERS


def words(figure: Figure) -> str:
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    caption = figure._supxlabel  # type: ignore[attr-defined]
    return "\n".join([*texts, caption.get_text() if caption else ""])
