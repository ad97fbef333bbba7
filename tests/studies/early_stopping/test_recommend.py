"""The recommender: what it learns from other networks, what it tries, what it promises, and when it hesitates."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import refused
from PIL import Image
from planted_runs import EPOCHS, RATES, planted
from reduced import write
from tiny_study import STUDY, make_sources

from headstart.artifacts import store
from headstart.artifacts.keys import Job
from headstart.maintenance.recommend import Request, budget_of, recommend_text
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import load
from headstart.steps.sections import model_of, read_task
from headstart.studies.early_stopping import transfer
from headstart.studies.early_stopping.recommend.atlas import gather, halved
from headstart.studies.early_stopping.recommend.calibration import Calibration, half_width
from headstart.studies.early_stopping.recommend.choice import recommend
from headstart.studies.early_stopping.recommend.model import CALIBRATING, Teacher, cell_of, learned
from headstart.studies.early_stopping.recommend.search import (
    replayed,
    search,
    training_speed,
    with_regret,
)
from headstart.studies.early_stopping.recommend.short_runs import ShortRuns
from headstart.tasks.task import draw_shots
from headstart.training.assembly import RunImages, RunSeeds
from headstart.training.checkpoint_series import CheckpointSeries


def judged(atlas: pd.DataFrame, rows: pd.DataFrame, tuned: bool, recall: bool) -> pd.DataFrame:
    rows = halved(rows)
    teacher = Teacher(atlas, tuned, recall=recall)
    return with_regret(search(rows, replayed, teacher, 0.1), rows, tuned)


@pytest.mark.parametrize("recall", [True, False])
@pytest.mark.parametrize("tuned", [True, False])
def test_a_planted_best_epoch_is_found_for_a_network_not_seen(tuned: bool, recall: bool) -> None:
    atlas = planted(12)
    new = atlas["seed"] == "11"
    found = judged(atlas[~new], atlas[new], tuned, recall)
    assert len(found) == (2 if tuned else 6)
    assert set(found["source_epoch"]) <= {4, 8}
    assert found["regret"].mean() < 0.01
    assert (found["cost"] <= 0.1 + 1e-9).all()
    assert (found["cost"] == 0).all() == recall
    if tuned:
        assert set(found["learning_rate"]) == {0.1}


def test_shuffled_accuracies_teach_nothing_so_that_the_choice_is_as_bad_as_any() -> None:
    """The negative control: the same rows with accuracies that belong to other epochs."""
    atlas = planted(12)
    new = atlas["seed"] == "11"
    generator = np.random.default_rng(1)
    lies = atlas[~new].assign(test_accuracy=generator.permutation(atlas[~new]["test_accuracy"]))
    true = judged(atlas[~new], atlas[new], False, True)["regret"].mean()
    misled = judged(lies, atlas[new], False, True)["regret"].mean()
    assert misled > true + 0.02


def test_short_runs_see_what_other_networks_could_not_teach() -> None:
    """The best epoch of the new network lies elsewhere; its losses say so, its place does not."""
    atlas, other = planted(12, best=4.5), planted(1, best=0.5)
    before = judged(atlas, other.assign(seed="new", model="m"), False, True)
    tried = judged(atlas, other.assign(seed="new", model="m"), False, False)
    assert tried["regret"].mean() < before["regret"].mean() - 0.03


def test_the_mean_of_other_networks_is_known_only_where_nine_of_them_are() -> None:
    rows = planted(1).assign(seed="new")
    assert learned(rows, planted(CALIBRATING - 1)).isna().all()
    told = learned(rows, planted(CALIBRATING, spread=0.0))
    assert told.notna().all()
    assert np.allclose(told, rows["test_accuracy"], atol=0.02)


@pytest.mark.parametrize("epochs", [1, 3, 16])
def test_a_budget_is_kept_also_where_runs_are_short_or_few_candidates_can_be_tried(
    epochs: int,
) -> None:
    atlas = planted(3).assign(epochs=epochs)
    new = atlas["seed"] == "2"
    for budget, tuned in product((0.02, 0.4), (True, False)):
        rows = halved(atlas[new])
        found = search(rows, replayed, Teacher(atlas[~new], tuned), budget)
        candidates = len(EPOCHS) * (len(RATES) if tuned else 1)
        assert (found["cost"] <= max(budget, 1 / candidates / epochs) + 1e-9).all()
        assert len(found) == (2 if tuned else 6)


def test_training_speed_is_minus_the_sum_of_losses_and_lost_runs_come_last() -> None:
    rows = pd.DataFrame({"train_loss_1": [2.0, 2.0, 1.0], "train_loss_2": [1.5, np.nan, np.inf]})
    assert training_speed(rows, 2).tolist() == [-3.5, -np.inf, -np.inf]


def test_accuracies_are_read_on_another_draw_of_the_same_network() -> None:
    rows = halved(planted(2))
    first, second = (rows[rows["draw"] == draw].reset_index(drop=True) for draw in (0, 1))
    assert (first["elsewhere"] == second["test_accuracy"]).all()
    assert (second["elsewhere"] == first["test_accuracy"]).all()
    assert halved(planted(2).query("draw == 0"))["elsewhere"].isna().all()


def test_of_four_draws_two_choose_the_best_and_two_read_it() -> None:
    """Draw at place 1: the own half is draws 20 and 30, the other half 40 and 10."""
    accuracies = {1: (0.2, 0.4, 0.8, 0.6), 2: (0.5, 0.7, 0.3, 0.1)}
    names = {"source": "s", "model": "m", "seed": "0", "target": "t", "shots": "5"}
    rows = pd.DataFrame(
        [
            {
                **names,
                "draw": draw,
                "source_epoch": epoch,
                "learning_rate": 0.1,
                "test_accuracy": value,
            }
            for epoch, values in accuracies.items()
            for draw, value in zip((10, 20, 30, 40), values, strict=True)
        ]
    )
    table = halved(rows)
    assert np.allclose(table["own"], [0.3, 0.6, 0.7, 0.4, 0.6, 0.5, 0.2, 0.3])
    assert np.allclose(table["elsewhere"], [0.7, 0.4, 0.3, 0.6, 0.2, 0.3, 0.6, 0.5])
    # By its own half the oracle of draw 10 takes epoch 2, of 20 and 30 epoch 1, of 40 epoch 1.
    chosen = with_regret(table[table["source_epoch"] == 1], table, False)
    assert np.allclose(chosen["regret"], [-0.5, 0.0, 0.0, 0.0])
    lacking = halved(rows.drop(index=7))
    assert lacking.loc[lacking["source_epoch"] == 2, "elsewhere"].isna().all()
    assert lacking.loc[lacking["source_epoch"] == 1, "elsewhere"].notna().all()
    assert np.allclose(with_regret(lacking[:4], lacking, False)["regret"], 0.0)


def noise(draws: int, seed: int) -> pd.DataFrame:
    """Return runs of 60 networks whose candidates are all equally good."""
    generator = np.random.default_rng(seed)
    grid = pd.DataFrame(
        list(product(range(60), range(draws), EPOCHS)), columns=["seed", "draw", "source_epoch"]
    )
    names = {"source": "s", "model": "m", "target": "t", "shots": "5", "learning_rate": 0.1}
    return grid.assign(**names, test_accuracy=0.5 + 0.05 * generator.normal(size=len(grid)))


def test_among_equals_no_rule_that_sees_one_draw_has_regret_and_more_draws_lower_the_floor() -> (
    None
):
    floors = []
    for draws in (2, 4, 8):
        rows = halved(noise(draws, draws))
        cells = rows.groupby(cell_of(False))
        for chosen in (
            rows[rows["source_epoch"] == 30],
            rows.loc[cells["test_accuracy"].idxmax()],
            cells.sample(1, random_state=0),
        ):
            networks = with_regret(chosen, rows, False).groupby("seed")["regret"].mean()
            assert abs(networks.mean()) <= 3 * networks.sem()
        best = with_regret(rows.loc[cells["elsewhere"].idxmax()], rows, False)
        floors.append(-best["regret"].mean())
    assert floors[0] > 1.2 * floors[1] > 1.4 * floors[2] > 0


def test_the_oracle_of_one_draw_has_no_regret_and_the_best_of_the_other_has_none_above_it() -> None:
    rows = halved(planted(3, spread=0.05))
    oracle = rows.loc[rows.groupby(["seed", "draw"])["test_accuracy"].idxmax()]
    assert with_regret(oracle, rows, True)["regret"].abs().max() < 1e-12
    best = rows.loc[rows.groupby(["seed", "draw"])["elsewhere"].idxmax()]
    assert (with_regret(best, rows, True)["regret"] <= 0).all()


def test_conformal_half_widths_hold_nine_of_ten_new_networks() -> None:
    generator, held = np.random.default_rng(0), []
    for _ in range(400):
        errors = generator.normal(size=(15, 1)) + 0.3 * generator.normal(size=(15, 4))
        seeds = np.repeat(np.arange(14), 4)
        table = pd.DataFrame({"seed": seeds, "expected": 0.0, "test_accuracy": errors[:14].ravel()})
        held.append((np.abs(errors[14]) <= half_width(table)).mean())
    assert 0.88 <= np.mean(held) <= 0.96


def test_too_few_networks_have_no_interval() -> None:
    table = pd.DataFrame({"seed": range(8), "expected": 0.0, "test_accuracy": np.linspace(0, 1, 8)})
    assert half_width(table) == np.inf


def test_a_forecast_holds_for_the_same_kind_alone() -> None:
    atlas = planted(12)
    chosen = judged(atlas[atlas["seed"] != "11"], atlas[atlas["seed"] == "11"], True, True).iloc[0]
    calibration = Calibration(atlas[atlas["seed"] != "11"], True, 0.1)
    said = calibration.forecast(chosen)
    assert said.networks == 11
    assert said.low < chosen["test_accuracy"] < said.high
    assert said.high - said.low < 0.1
    assert said.within > 0.8
    for name, value in {"target": "u", "shots": "1", "model": "n", "learning_rate": 0.3}.items():
        other = calibration.forecast(pd.Series({**chosen, name: value}))
        assert np.isnan(other.low), name
        assert other.networks == 0


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.25", 0.25), (" 5 % ", 0.05)])
def test_a_budget_is_a_share(text: str, share: float) -> None:
    assert budget_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "110%", "ten", "1.2.3", "-5%"])
def test_a_budget_that_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match="is no share of the target epochs"):
        budget_of(text)


@pytest.fixture
def networks(project: Path) -> Plan:
    """Return the plan of a study of two networks that are trained, in the current folder."""
    write(STUDY, project / "params.yaml")
    of = Plan(load(project / "params.yaml"))
    make_sources(of)
    return of


def opened(job: Job) -> tuple[CheckpointSeries, RunImages, RunSeeds]:
    """Return what the first draw of a transfer job reads."""
    (source,), (data,) = job.inputs["pretrain"], job.inputs["data"]
    task = read_task("target", job.params, store.open_artifact(data))
    shape = task.train.images.shape
    series = CheckpointSeries(store.open_artifact(source), model_of(job.params), shape, "cpu")
    images = RunImages(draw_shots(task, 2, 0), task, series.normalization)
    names = [job.wildcards[name] for name in ("source", "model", "target", "seed")]
    return series, images, RunSeeds("transfer", (*names, "2", "0"))


def test_short_runs_are_the_first_epochs_of_transfer_bit_for_bit_also_where_they_go_on(
    networks: Plan, project: Path
) -> None:
    job = networks.jobs("transfer")[0]
    store.run(job, transfer.make)
    series, images, seeds = opened(job)
    whole = gather([(job.path, job.wildcards)]).query("draw == 0")
    early = [name for name in whole.columns if name[-2:] in ("_1", "_2")]
    follow = ShortRuns(series, images, transfer.transfer_of(job), seeds, project, lambda _: None)
    short = follow(whole[["source_epoch", "learning_rate"]], 1)
    assert follow.target_epochs == len(whole)
    longer = follow(short, 2)
    assert follow.target_epochs == 2 * len(whole)
    pd.testing.assert_frame_equal(longer[early], whole[early], check_dtype=False)


def test_with_no_other_network_it_says_so_and_what_a_useful_budget_is(networks: Plan) -> None:
    job = networks.jobs("transfer")[0]
    series, images, _ = opened(job)
    names = {"source": "source", "model": "convnet", "seed": "0", "target": "target"}
    options, nothing = transfer.transfer_of(job), gather([])
    found = recommend(
        series, images, options, {**names, "shots": "2", "draw": "0"}, nothing, budget=0.4
    )
    assert found.cost == 3
    assert found.all_epochs == 9
    assert np.isnan(found.forecast.low)
    assert "no other networks" in found.hesitation
    assert "a budget of 100%" in found.hesitation


def test_the_command_takes_a_task_or_a_folder_and_hesitates_where_few_networks_teach(
    networks: Plan, project: Path
) -> None:
    for job in networks.jobs("transfer"):
        store.run(job, transfer.make)
    reports: list[str] = []
    request = Request("source-convnet-seed0", "target", 0.5)
    text = recommend_text(request, Path("params.yaml"), reports.append)
    assert text.startswith("source-convnet-seed0 on target, 8 training images: fine-tune epoch ")
    assert "accuracy " in text
    assert "with no interval" in text
    assert "1 other networks were fine-tuned so on target, nine are needed" in text
    assert len(reports) == 3
    assert "test" not in "".join(reports)
    photographs(project / "shapes")
    text = recommend_text(Request("source-convnet-seed1", "shapes"), Path("params.yaml"), print)
    assert text.startswith("source-convnet-seed1 on shapes, 4 training images: fine-tune epoch ")
    assert "0 other networks were fine-tuned so on shapes" in text


def photographs(folder: Path) -> None:
    """Write three dark and three bright pictures, each kind in a folder of its own."""
    for level, name in ((20, "dark"), (200, "bright")):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((8, 8, 3), level + 10 * number, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_what_cannot_be_recommended_is_refused_before_anything_is_trained(networks: Plan) -> None:
    ask = {"checkpoints": "source-convnet-seed0", "target": "target"}
    problems = {
        "neither a task of the params \\(source, target\\) nor a folder": {"target": "letters"},
        "no network of the params is called 'elsewhere'.*headstart import": {
            "checkpoints": "elsewhere"
        },
    }
    for message, wrong in problems.items():
        with pytest.raises(ParamsError, match=message):
            recommend_text(Request(**{**ask, **wrong}), Path("params.yaml"), print)


def test_the_command_ends_in_one_line_before_it_looks_for_networks(project: Path) -> None:
    write(STUDY, project / "params.yaml")
    ask = ("recommend", "--checkpoints", "source-convnet-seed0", "--target", "target")
    refused(*ask, "--budget", "ten", said=("'ten' is no share",))
    refused(*ask, said=("source-convnet-seed0 is not trained yet",))
