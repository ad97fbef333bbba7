"""Pre-training and transfer as jobs: what is kept, what is the same, and what a failure loses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_study import STUDY, make_sources, plan, runs

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, read_json, read_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.networks.build import build, new_head
from headstart.params.models import ConvNet
from headstart.params.recipe import Selection
from headstart.plan import Plan
from headstart.registry import Params, parse
from headstart.steps.sections import model_of, task_of
from headstart.studies.early_stopping import tables, transfer
from headstart.tasks.batches import EvaluationBatches, Normalization, TrainBatches
from headstart.tasks.task import draw_shots, make_task, read
from headstart.training.checkpoints import load, save
from headstart.training.loop import fit

pytestmark = pytest.mark.usefixtures("project")


def test_checkpoints_are_those_asked_for_with_growing_distance_and_unique_weights() -> None:
    of = plan()
    make_sources(of)
    job = of.jobs("pretrain")[0]
    manifest = read_json(job.path / "checkpoints.json")
    entries = manifest["checkpoints"]
    assert [entry["epoch"] for entry in entries] == sorted({0, 1, 2, 4, 5, manifest["best"]})
    assert len({entry["sha256"] for entry in entries}) == len(entries)
    assert entries[0]["distance"] == 0
    assert entries[0]["steps"] == 0
    assert all(entry["distance"] > 0 for entry in entries[1:])
    assert entries[-1]["samples"] == 5 * 21
    history = read_table(job.path / "history.parquet")
    assert list(history["epoch"]) == list(range(6))
    assert history.loc[history["best"], "epoch"].item() == manifest["best"]


@pytest.mark.parametrize("given", [False, True])
def test_no_epochs_keep_the_network_as_it_is_built(given: bool, project: Path) -> None:
    model: dict[str, Any] = {"kind": "convnet", "width": 2}
    if given:
        weights = build(ConvNet.model_validate(model), 1, 8, 3, seed=77).state_dict()
        save(weights, project / "given.safetensors")
        sha256 = file_sha256(project / "given.safetensors")
        model["weights"] = {"path": "given.safetensors", "sha256": sha256}
    part = {**STUDY["pretrain"]["convnet"], "epochs": 0, "seeds": [0]}
    study = {**STUDY, "transfer": {}, "models": {"convnet": model}, "pretrain": {"convnet": part}}
    of = Plan(Params.model_validate(study))
    make_sources(of)
    (job,) = of.jobs("pretrain")
    manifest, history = (
        read_json(job.path / "checkpoints.json"),
        read_table(job.path / "history.parquet"),
    )
    assert (manifest["best"], len(manifest["checkpoints"]), len(history)) == (0, 1, 1)
    kept = load(job.path / "epoch-0000.safetensors")
    if given:
        assert all(torch.equal(kept[name], weights[name]) for name in weights)
    else:
        seed = derive_seed("initial weights", "source", "convnet", 0)
        built = build(ConvNet.model_validate(model), 1, 8, 3, seed).state_dict()
        assert all(torch.equal(kept[name], built[name]) for name in built)


def test_scratch_is_source_epoch_zero_bit_for_bit() -> None:
    of = plan()
    make_sources(of)
    job = of.jobs("transfer")[0]
    store.run(job, transfer.make)
    options = transfer.transfer_of(job)
    task = make_task("target", task_of(job.params), read(of.jobs("data")[0].path))
    normalization = Normalization.from_dict(
        read_json(of.jobs("pretrain")[0].path / "normalization.json")
    )
    # A network that no pre-training has ever seen, from its own seed.
    network = build(
        model_of(job.params), 1, 8, 3, derive_seed("initial weights", "source", "convnet", "0")
    )
    new_head(network, 4, options.head_seed)
    shared = ("source", "convnet", "target", "0", 2, 1)
    outcome = fit(
        network,
        TrainBatches(
            draw_shots(task, 2, 1),
            normalization,
            4,
            options.augmentation,
            "cpu",
            derive_seed("transfer", *shared),
        ),
        EvaluationBatches(task.validation, normalization, 512, "cpu"),
        EvaluationBatches(task.test, normalization, 512, "cpu"),
        options,
        0.1,
        derive_seed("training", *shared),
        selection=Selection(),
        test_epochs={3},
    )
    curves = read_table(job.path / "curves.parquet")
    scratch = curves[(curves["source_epoch"] == 0) & (curves["draw"] == 1)]
    assert list(scratch["train_loss"]) == [record.train_loss for record in outcome.history]
    assert list(scratch["validation_loss"]) == [
        record.validation_loss for record in outcome.history
    ]
    row = runs(job).query("source_epoch == 0 and draw == 1").iloc[0]
    assert row["test_accuracy"] == outcome.test_accuracy_at_best
    assert row["best_epoch"] == outcome.best_epoch


def test_the_first_checkpoint_is_the_network_of_the_seed() -> None:
    of = plan()
    make_sources(of)
    job = of.jobs("pretrain")[1]
    state = load(job.path / "epoch-0000.safetensors")
    network = build(
        model_of(job.params), 1, 8, 3, derive_seed("initial weights", "source", "convnet", "1")
    )
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_best_names_the_epoch_that_validation_chose_and_is_run_once() -> None:
    of = plan()
    make_sources(of)
    job = of.jobs("transfer")[0]
    store.run(job, transfer.make)
    best = read_json(of.jobs("pretrain")[0].path / "checkpoints.json")["best"]
    assert set(runs(job)["source_epoch"]) == {0, 2, best}
    assert len(runs(job)) == 2 * len({0, 2, best})


def test_a_wider_grid_trains_only_its_new_runs() -> None:
    of = plan()
    make_sources(of)
    first = of.jobs("transfer")[0]
    before = len(runs_of(first))
    wider = plan(learning_rates=[0.1, 0.01], draws=[0, 1, 2]).jobs("transfer")[0]
    artifact = store.run(wider, transfer.make)
    assert (
        artifact.manifest["summary"]["trained_now"] == artifact.manifest["summary"]["runs"] - before
    )
    both = runs(first).merge(
        runs(wider), on=["source_epoch", "shots", "draw", "learning_rate"], suffixes=("", "_again")
    )
    assert len(both) == before
    assert (both["validation_accuracy"] == both["validation_accuracy_again"]).all()


def test_runs_trained_together_are_kept_alone_and_a_new_rate_changes_none_of_them() -> None:
    """Neither what was finished before nor the size of the grid is in a run's bits; K is in its key."""
    of = plan(slots=8, source_accuracy=True)
    make_sources(of)
    first = of.jobs("transfer")[0]
    before = runs_of(first)
    wider = plan(slots=8, source_accuracy=True, learning_rates=[0.3, 0.1, 0.01]).jobs("transfer")[0]
    summary = store.run(wider, transfer.make).manifest["summary"]
    assert summary["trained_now"] == summary["runs"] - len(before)
    known = runs(first)
    shutil.rmtree(".store/runs")
    shutil.rmtree(wider.path)
    anew = store.run(wider, transfer.make).manifest["summary"]
    assert anew["trained_now"] == summary["runs"]
    again = runs(wider)
    keys = ["source_epoch", "shots", "draw", "learning_rate"]
    kept = again.merge(known[keys], on=keys).sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, known.sort_values(keys).reset_index(drop=True))
    alone = runs_of(plan(source_accuracy=True).jobs("transfer")[0]).sort_values(keys)
    assert len(alone) == len(known)
    difference = (
        alone["validation_accuracy"].to_numpy()
        - known.sort_values(keys)["validation_accuracy"].to_numpy()
    )
    assert abs(difference).max() < 0.1


def test_slots_fill_whole_vectors_of_the_processor() -> None:
    with pytest.raises(ValueError, match=r"slots\n.*multiple of 8"):
        plan(slots=12)


def test_a_probe_forgets_nothing_of_the_source_and_fine_tuning_is_measured() -> None:
    """Under its own head a backbone that never moved has the source accuracy of its checkpoint."""
    of = plan(mode="probe", source_accuracy=True, source_epochs=[0, 2, 5], draws=[0])
    make_sources(of)
    held = read_table(of.jobs("pretrain")[0].path / "history.parquet")
    expected = held.set_index("epoch")["validation_accuracy"]
    probes = runs_of(of.jobs("transfer")[0]).set_index("source_epoch")["source_accuracy"]
    assert (probes == expected[probes.index]).all()
    tuned = plan(source_accuracy=True, source_epochs=[0, 2, 5], learning_rates=[0.5], epochs=20)
    for job in tuned.jobs("transfer"):
        runs_of(job)
    (tabulated,) = tuned.jobs("tables")
    rows = read_table(store.run(tabulated, tables.make).path / "measurements.parquet")
    left = rows[(rows["metric"] == "source_accuracy") & (rows["source_epoch"] == 5)]
    assert len(left) == 4
    assert left["value"].mean() < expected[5]


def test_further_grids_add_runs_of_their_own_targets_shots_and_starts() -> None:
    also = [
        {"shots": [1, 3], "source_epochs": [0]},
        {"targets": ["source"], "learning_rates": [0.5]},
        {"source_epochs": [0, 5], "learning_rates": [0.1, 0.5]},
    ]
    of = plan(draws=[0], also=also)
    make_sources(of)
    jobs = {
        job.wildcards["target"]: job for job in of.jobs("transfer") if job.wildcards["seed"] == "0"
    }
    best = read_json(of.jobs("pretrain")[0].path / "checkpoints.json")["best"]
    columns = ["source_epoch", "shots", "learning_rate"]
    own = {(epoch, "2", 0.1) for epoch in (0, 2, best)}
    found = set(runs_of(jobs["target"])[columns].itertuples(index=False, name=None))
    more = {(0, "1", 0.1), (0, "3", 0.1), (5, "2", 0.1), (0, "2", 0.5), (5, "2", 0.5)}
    assert found == own | more
    elsewhere = set(runs_of(jobs["source"])[columns].itertuples(index=False, name=None))
    assert elsewhere == {(epoch, "2", 0.5) for epoch in (0, 2, best)}
    # What another target's grid says is in no key of this one's.
    plain = plan(draws=[0], also=[also[0], also[2]]).jobs("transfer")[0]
    assert plain.key == jobs["target"].key


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"targets": ["sauce"]}, "finetune.targets: 'sauce' is not in `tasks`"),
        ({"source_epochs": [3]}, r"finetune.source_epochs: \[3\] are not kept"),
        ({"shots": [1, 1]}, r"finetune.shots: \[1, 1\] names something twice"),
    ],
)
def test_a_further_grid_is_checked_like_that_of_its_arm(grid: dict[str, Any], message: str) -> None:
    study = {
        **STUDY,
        "transfer": {
            "convnet": {"finetune": {**STUDY["transfer"]["convnet"]["finetune"], "also": [grid]}}
        },
    }
    with pytest.raises(ValueError, match=message):
        parse(study)


def test_nested_draws_give_every_source_network_images_of_its_own() -> None:
    """Labels tell them apart, and a run is that of the same draw where all networks share it."""
    of = plan(nested_draws=True)
    make_sources(of)
    first, second = of.jobs("transfer")
    assert set(runs_of(first)["draw"]) == {0, 1}
    assert set(runs_of(second)["draw"]) == {1000, 1001}
    shared = plan(draws=[1000, 1001]).jobs("transfer")[1]
    artifact = store.run(shared, transfer.make)
    assert artifact.manifest["summary"]["trained_now"] == 0
    pd.testing.assert_frame_equal(runs(shared), runs(second))


def test_more_nested_draws_than_a_network_can_have_are_refused() -> None:
    with pytest.raises(ValueError, match="draws: 1000 with nested_draws"):
        plan(nested_draws=True, draws=[0, 1000])


def runs_of(job: Job) -> Any:
    store.run(job, transfer.make)
    return runs(job)


def test_a_killed_bundle_keeps_its_finished_runs() -> None:
    of = plan()
    make_sources(of)
    job = of.jobs("transfer")[0]

    def killed(text: str, *, detail: bool = False) -> None:
        if text.startswith("run 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.run(job, transfer.make, log=killed)
    artifact = store.run(job, transfer.make)
    assert artifact.manifest["summary"]["trained_now"] == artifact.manifest["summary"]["runs"] - 3


def test_a_damaged_checkpoint_is_refused_by_name() -> None:
    of = plan()
    make_sources(of)
    job = of.jobs("transfer")[0]
    file = of.jobs("pretrain")[0].path / "epoch-0002.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"0000")
    with pytest.raises(store.ArtifactError, match=r"epoch-0002\.safetensors: damaged"):
        store.run(job, transfer.make)
    assert not job.path.exists()


@pytest.mark.parametrize("mode", ["probe", "relearn"])
def test_other_modes_run_from_every_checkpoint(mode: str) -> None:
    targets = ["target"] if mode == "probe" else []
    of = plan(mode=mode, targets=targets, source_epochs=[0, 5])
    make_sources(of)
    job = of.jobs("transfer")[0]
    assert set(runs_of(job)["source_epoch"]) == {0, 5}
    assert job.wildcards["target"] == ("target" if mode == "probe" else "source")


def test_tables_hold_one_row_per_measurement_and_name_the_split() -> None:
    of = plan()
    make_sources(of)
    for job in of.jobs("transfer"):
        store.run(job, transfer.make)
    (job,) = of.jobs("tables")
    folder = store.run(job, tables.make).path
    rows = read_table(folder / "measurements.parquet")
    assert not rows.duplicated(tables.SCHEMA.keys).any()
    headline = rows[rows["metric"] == "accuracy_at_validation_best"]
    assert set(headline["split"]) == {"validation", "test"}
    counts = headline.groupby("split").size()
    assert (
        counts["validation"] == counts["test"] == sum(len(runs(one)) for one in of.jobs("transfer"))
    )
    trained = rows[(rows["metric"] == "final_accuracy") & (rows["split"] == "train")]
    assert len(trained) == counts["test"]
    fitted = rows[rows["metric"] == "accuracy_when_fitted"]
    assert len(fitted) == 2 * (trained["value"] == 1).sum()
    assert rows["value"].notna().all()
    source = rows[
        (rows["mode"] == "pretrain")
        & (rows["metric"] == "accuracy")
        & (rows["split"] == "validation")
    ]
    assert sorted(source["source_epoch"].unique()) == list(range(6))
    assert set(rows["device"]) == {"cpu"}


def test_test_accuracy_is_read_only_where_asked_and_at_the_end(tmp_path: Path) -> None:
    of = plan(test_epochs=[1])
    make_sources(of)
    job = of.jobs("transfer")[0]
    store.run(job, transfer.make)
    curves = read_table(job.path / "curves.parquet")
    read_at = set(curves.loc[curves["test_accuracy"].notna(), "target_epoch"])
    assert read_at == {1, 3}
