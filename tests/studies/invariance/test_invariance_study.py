"""The invariance study on a tiny transformer: what is stored, verified, refused and explained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from headstart.artifacts import store
from headstart.artifacts.files import ArtifactError, read_table
from headstart.artifacts.keys import Job, derive_seed, sha256_of
from headstart.artifacts.store import Artifact, describe_files, open_artifact
from headstart.metrics.representations.corruptions import corrupt
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import Params, parse
from headstart.statistics.measurements import MEASURED, select
from headstart.steps import data, pretrain, trajectory
from headstart.steps.check import Facts
from headstart.studies.invariance import compare as invariance
from headstart.studies.invariance import inversions, tables
from headstart.studies.invariance.checks import data_problems
from headstart.studies.invariance.columns import EMBEDDING, MEASUREMENTS, null
from headstart.studies.invariance.network_tables import of_form
from headstart.studies.invariance.rows import NOT_IDENTIFIABLE
from headstart.tasks import TaskError
from headstart.tasks.storage import ClassCounts
from headstart.tasks.task import make_task, read
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.checkpoints import load, save

TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "optimizer": {"name": "adamw"}}
ARM = {**TRAINING, "targets": ["target"], "target_epochs": [1, 2]}
STUDY: dict[str, Any] = {
    "datasets": {
        "letters": {"kind": "glyphs", "size": 12, "train_per_class": 8, "test_per_class": 4,
                    "alphabets": ["latin"]},
    },
    "tasks": {
        "source": {"dataset": "letters", "classes": ["A", "B", "C"], "validation_per_class": 2},
        "target": {"dataset": "letters", "classes": ["D", "E", "F"], "validation_per_class": 2},
    },
    "models": {
        "vit": {"kind": "timm", "name": "vit_tiny_patch16_224",
                "kwargs": {"patch_size": 6, "embed_dim": 8, "depth": 3, "num_heads": 2}},
    },
    "pretrain": {"vit": {**TRAINING, "sources": ["source"], "seeds": [0]}},
    "trajectory": {
        "vit": {
            "finetune": {**ARM, "source_epochs": ["last"]},
            "reconstruct": {**ARM, "mode": "reconstruct", "source_epochs": ["last"]},
            "scratch": {**ARM, "source_epochs": [0]},
        },
    },
    "invariance": {
        "vit": {
            "arms": ["finetune", "reconstruct", "scratch"],
            "scratch": ["scratch"],
            "inversions": {
                "images": 10,
                "seeds": [0, 1],
                "optimizer": {"steps": 40, "step_size": 0.1, "method": "adam", "decay": True},
            },
            "control": ["random", "scratch"],
            "components": 3,
            "groups": 2,
            "resamples": 10,
            "dynamics": {"epochs": [0, 1], "learning": ["finetune"]},
            "robustness": {"corruptions": ["fog"], "severities": [1, 3], "images": 6},
        },
    },
    "plasticity": {"enabled": False},
}  # fmt: skip
MAKES = {
    "data": data.make,
    "pretrain": pretrain.make,
    "trajectory": trajectory.make,
    "inversions": inversions.make,
    "invariance": invariance.make,
}
RUN = ["arm", "target_epoch", "form", "metric", "condition", "reference_layer", "layer"]


def changed(**options: Any) -> Params:
    part = {**STUDY["invariance"]["vit"], **options}
    return parse({**STUDY, "invariance": {"vit": part}})


def done(plan: Plan, *steps: str) -> list[Artifact]:
    return [store.run(job, MAKES[job.step]) for job in plan.jobs(*steps)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project folder in which the study has run once."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = Plan(parse(STUDY))
        done(plan, *MAKES)
        (job,) = (job for job in plan.jobs("tables") if job.name == "invariance")
        store.run(job, tables.make)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Return the plan of the finished study, in a copy of its folder that is the current one."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Plan(parse(STUDY))


@pytest.fixture
def gathered(finished: Path) -> dict[str, pd.DataFrame]:
    (folder,) = (finished / "results" / "tables").glob("invariance-*")
    tables = {path.stem: read_table(path) for path in folder.glob("*.parquet")}
    measurements = tables["measurements"]
    assert list(measurements) == list(MEASUREMENTS.columns)
    return tables


def job_of(plan: Plan, step: str, arm: str, source_epoch: str | None = None) -> Job:
    (job,) = (
        job
        for job in plan.jobs(step)
        if job.wildcards["arm"] == arm and source_epoch in (None, job.wildcards["source_epoch"])
    )
    return job


def test_each_network_is_inverted_once_for_all_comparisons(copied: Plan) -> None:
    names = [(job.wildcards["arm"], job.params["epochs"]) for job in copied.jobs("inversions")]
    assert names == [
        ("pretrained", ["2"]),
        ("pretrained", ["0"]),
        ("finetune", ["0", "1", "last"]),
        ("reconstruct", ["last"]),
        ("scratch", ["last"]),
    ]


def test_stored_pixels_have_the_residuals_that_stand_beside_them(copied: Plan) -> None:
    job = job_of(copied, "inversions", "finetune")
    artifact = open_artifact(job)
    residuals = read_table(artifact.file("residuals.parquet"))
    stored = load(artifact.file("epoch-0002-all-noise-seed1.safetensors"))["pixels"]
    assert stored.dtype == torch.float16
    assert tuple(stored.shape) == (3, 10, 1, 12, 12)
    (run,) = job.inputs["network"]
    network = CheckpointSeries(open_artifact(run), parse(STUDY).models["vit"], (1, 12, 12), "cpu")
    rows = residuals.query("target_epoch == 2 and inversion_seed == 1 and layer == 2")
    represent = network.pixels(2).until(2)
    (letters,) = job.inputs["data"]
    whole = make_task("target", parse(STUDY).tasks["target"], read(letters.path))
    reference = inversions.draw_reference_images(whole, changed().invariance["vit"].inversions)
    assert rows["image"].tolist() == reference.positions[1].tolist()
    target, found = represent(reference.pixels[1]), represent(stored[1].float())
    expected = (found - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)
    np.testing.assert_allclose(rows["residual"], expected, rtol=1e-4)
    assert (rows["residual"] < rows["seed_residual"]).all()


def test_what_a_network_sees_is_the_normalised_picture(copied: Plan) -> None:
    (job,) = copied.jobs("pretrain")
    network = CheckpointSeries(open_artifact(job), parse(STUDY).models["vit"], (1, 12, 12), "cpu")
    pixels = torch.arange(144).reshape(1, 1, 12, 12).float() / 143
    expected = network.normalization.apply(255 * pixels)
    torch.testing.assert_close(network.pixels(0).normalized(pixels), expected)


def test_at_epoch_0_nothing_is_forgotten_or_learnt(gathered: dict[str, pd.DataFrame]) -> None:
    table = gathered["measurements"].query("arm == 'finetune' and target_epoch == 0")
    for metric in ("forgetting", "learning", "cka_divergence"):
        values = table.loc[table["metric"] == metric, "value"].dropna()
        np.testing.assert_allclose(values, 0, atol=1e-9)
    same = table.loc[table["metric"] == "subspace_similarity", "value"]
    np.testing.assert_allclose(same, 1, atol=1e-6)


def test_every_value_is_a_number_or_has_a_reason(gathered: dict[str, pd.DataFrame]) -> None:
    table = gathered["measurements"]
    assert (table["reason"][table["value"].isna()] != "").all()
    assert not table.duplicated([*RUN, "kind", "first_replaced"]).any()
    ended = table[(table["metric"] == "forgetting") & table["low"].notna()]
    assert (ended["low"] <= ended["value"]).all()
    assert (ended["high"] >= ended["value"]).all()


def test_forgetting_is_measured_against_self_stir_and_its_published_form_against_1(
    gathered: dict[str, pd.DataFrame],
) -> None:
    table = gathered["measurements"].query(
        "arm == 'reconstruct' and kind == 'noise' and condition == 'measured'"
    )
    keyed = table.pivot_table(index=["form", "reference_layer", "layer"], columns="metric",
                              values="value")  # fmt: skip
    given = keyed["stir_ft_given_pt"]
    np.testing.assert_allclose(keyed["forgetting"], keyed["stir_pt_given_pt"] - given)
    np.testing.assert_allclose(keyed["forgetting_paper"], 1 - given)


def test_excess_compression_is_the_difference_of_what_both_networks_share(
    gathered: dict[str, pd.DataFrame],
) -> None:
    table = gathered["measurements"]
    table = table[(table["form"] == "debiased") & table["first_replaced"].isna()]
    cell = ["arm", "reference_layer", "layer"]
    keyed = table[table["target_epoch"] == 2].pivot_table(
        index=cell, columns="metric", values="value"
    )
    earlier = keyed[
        keyed.index.get_level_values("layer") < keyed.index.get_level_values("reference_layer")
    ]
    excess = gathered["measurements"].query(
        "metric == 'excess_compression' and condition == 'measured' and form == 'debiased' "
        "and layer < reference_layer"
    )
    assert len(excess) == len(earlier) == 3 * 3
    given = earlier["stir_ft_given_pt"] - earlier["stir_pt_given_pt"]
    found = excess.set_index(cell)["value"].reindex(given.index)
    np.testing.assert_allclose(found, given, rtol=0, atol=1e-12)


def test_runs_say_which_share_of_the_data_processing_check_fails(
    gathered: dict[str, pd.DataFrame],
) -> None:
    checks = gathered["measurements"].query("target_epoch == 2")
    for run in gathered["runs"].to_dict("records"):
        for network in ("pt", "ft"):
            mine = checks["metric"].eq(f"data_processing_{network}") & checks["arm"].eq(run["arm"])
            assert mine.sum() == 6
            assert run[f"broken_{network}"] == checks.loc[mine, "value"].mean()


def test_the_head_of_the_source_reads_the_source_from_both_ends_of_a_run(
    copied: Plan, gathered: dict[str, pd.DataFrame]
) -> None:
    source, stored = (
        open_artifact(job) for step in ("pretrain", "data") for job in copied.jobs(step)
    )
    history = read_table(source.file("history.parquet")).set_index("epoch")
    runs = gathered["runs"].set_index("arm")
    for arm in ("finetune", "reconstruct"):
        assert runs["pretrained_source_accuracy"][arm] == history["test_accuracy"][2]
        assert runs["source_reason"][arm] == ""
    assert runs.loc["scratch", ["pretrained_source_accuracy", "source_accuracy"]].isna().all()
    assert runs["source_reason"]["scratch"] == (
        "source epoch 0 has no head that was trained on source here"
    )
    job = job_of(copied, "trajectory", "finetune")
    task = make_task("source", parse(STUDY).tasks["source"], read(stored.path))
    ends = [CheckpointSeries(each, parse(STUDY).models["vit"], (1, 12, 12), "cpu")
            for each in (source, open_artifact(job))]  # fmt: skip
    both = {**ends[1].state(2), **{k: v for k, v in ends[0].state(2).items() if "head." in k}}
    network = ends[0].network(2).eval()
    network.load_state_dict(both)
    images = ends[0].normalization.apply(task.test.images.float())
    with torch.no_grad():
        expected = (network(images).argmax(1) == task.test.labels).double().mean()
    assert runs["source_accuracy"]["finetune"] == pytest.approx(float(expected))


def test_a_network_that_was_not_trained_on_its_source_here_asks_for_no_data_of_it() -> None:
    pretrained = {**STUDY["pretrain"]["vit"], "epochs": 0}
    arms = {name: {**arm, "source_epochs": [0]} for name, arm in STUDY["trajectory"]["vit"].items()}
    changes = {"pretrain": {"vit": pretrained}, "trajectory": {"vit": arms}}
    (job,) = Plan(parse({**STUDY, **changes})).jobs("invariance")
    assert "source_data" not in job.inputs
    assert "source_task" not in job.params
    (trained,) = Plan(parse(STUDY)).jobs("invariance")
    assert [each.step for each in trained.inputs["source_data"]] == ["data"]


def test_expansion_is_not_identifiable_and_compression_is_compared_with_controls(
    gathered: dict[str, pd.DataFrame],
) -> None:
    table = gathered["measurements"].query("arm == 'finetune' and form == 'debiased'")
    excess = select(table, metric="excess_compression", condition=MEASURED)
    later = excess["layer"] >= excess["reference_layer"]
    assert set(excess["reason"][later]) == {NOT_IDENTIFIABLE}
    earlier = excess[~later].set_index(["reference_layer", "layer"])["value"]
    for kind in ("random", "scratch"):
        beyond = table[table["metric"] == f"excess_over_{kind}"]
        beyond = beyond.set_index(["reference_layer", "layer"])["value"].reindex(earlier.index)
        controls = select(table, metric="excess_compression", condition=null(kind))
        strictest = controls.groupby(["reference_layer", "layer"])["value"].max()
        expected = earlier - strictest.reindex(earlier.index)
        np.testing.assert_allclose(beyond, expected, atol=1e-9)
    scratch = gathered["measurements"].query("arm == 'scratch'")["metric"]
    assert "excess_over_scratch" not in set(scratch)


def test_robustness_is_read_for_classes_only(gathered: dict[str, pd.DataFrame]) -> None:
    table = gathered["robustness"]
    assert set(table["arm"]) == {"finetune", "scratch"}
    assert set(zip(table["corruption"], table["severity"], strict=True)) == {
        ("clean", 0),
        ("fog", 1),
        ("fog", 3),
    }
    assert set(table["target_epoch"]) == {0, 1, 2}


def disguise(job: Job, name: str, change: Any) -> None:
    """Change a file of an artifact, and its manifest so that nothing is amiss."""
    artifact = open_artifact(job)
    change(job.path / name)
    manifest = artifact.manifest
    manifest["files"] = describe_files(job.path)
    manifest["digest"] = sha256_of({n: e["sha256"] for n, e in manifest["files"].items()})
    (job.path / "manifest.json").write_text(json.dumps(manifest))


def nudged(path: Path) -> None:
    state = load(path)
    state["backbone.blocks.1.mlp.fc1.bias"] += 0.5
    save(state, path)


def test_scratch_that_did_not_start_from_its_seed_is_refused(copied: Plan) -> None:
    (job,) = copied.jobs("invariance")
    shutil.rmtree(job.path)
    run, (source,) = job_of(copied, "trajectory", "scratch"), copied.jobs("pretrain")
    disguise(run, "epoch-0000.safetensors", nudged)
    with pytest.raises(ArtifactError, match="did not start from source epoch 0"):
        store.run(job, invariance.make)
    disguise(source, "epoch-0000.safetensors", nudged)
    with pytest.raises(ArtifactError, match="said to be scratch, but its start is not random"):
        store.run(job, invariance.make)


def test_a_killed_job_goes_on_and_ends_in_the_same_tables(
    copied: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(copied, "inversions", "reconstruct")
    whole = open_artifact(job).manifest["files"]
    shutil.rmtree(job.path)
    real, calls = inversions.invert, []

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(inversions, "invert", counted)
    with pytest.raises(KeyboardInterrupt):
        store.run(job, inversions.make)
    calls[:] = [1] * 10
    assert store.run(job, inversions.make).manifest["files"] == whole
    assert len(calls) == 10 + 6 - 3


RESTING = ("forgetting", "learning", "flow", "excess_compression", "excess_over_random")


def compared(**options: Any) -> pd.DataFrame:
    """Return what is measured of the fine-tuned run alone, with other options; at its end, unless they say more."""
    options = {"dynamics": {}, **options}
    plan = Plan(changed(arms=["finetune"], scratch=[], robustness={}, **options))
    done(plan, "inversions")
    (artifact,) = done(plan, "invariance")
    return read_table(artifact.file("measurements.parquet"))


def identifiable(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["reason"] != NOT_IDENTIFIABLE)]
    assert len(rows)
    return rows


def test_a_layer_that_was_not_inverted_gives_nan_with_its_reason(copied: Plan) -> None:
    short = {"images": 10, "seeds": [0], "optimizer": {"steps": 1}}
    table = compared(inversions=short, control=["random"])
    for metric in RESTING:
        rows = identifiable(table, metric)
        assert rows["reason"].str.contains("inversion did not converge: 0 of 10").all(), metric
        assert rows["value"].isna().all(), metric
    assert table.loc[table["metric"] == "cka_divergence", "value"].notna().all()


def test_the_class_token_decides_and_all_tokens_are_measured_once_at_the_end(copied: Plan) -> None:
    read = {"images": 10, "seeds": [0], "tokens": ["all", "class"],
            "optimizer": {"steps": 40, "step_size": 0.1, "method": "adam", "decay": True}}  # fmt: skip
    table = compared(
        inversions=read,
        control=["random"],
        convergence={"unconverged": "keep"},
        dynamics={"epochs": [0, 1]},
    )
    tuned = select(table, arm="finetune", metric="forgetting", form="debiased")
    measured = select(tuned, condition=MEASURED)
    assert measured.groupby("tokens")["target_epoch"].nunique().to_dict() == {"all": 1, "class": 3}
    assert set(of_form(table)["tokens"]) == {"class"}
    assert set(select(table, metric="data_processing_pt")["tokens"]) == {"all"}
    assert set(select(table, metric="excess_over_random")["tokens"]) == {"class"}
    ended = select(tuned, target_epoch=2)
    behind = select(ended, condition=null(EMBEDDING))
    assert set(behind["tokens"]) == {"all", "class"}
    assert (behind["first_replaced"] == 0).all()
    whole = select(ended, condition=MEASURED, reference_layer=[1, 2, 3])
    whole = whole[whole["layer"] == whole["reference_layer"]]
    assert len(whole) == len(behind) == 6
    assert not np.allclose(whole["value"], behind["value"])


def test_what_was_not_inverted_is_kept_with_the_reason_for_chosen_layers_and_kinds_of_seeds(
    copied: Plan,
) -> None:
    short = {"images": 6, "seeds": [0], "layers": [1, 3], "kinds": ["noise", "other_image"],
             "optimizer": {"steps": 1}}  # fmt: skip
    table = compared(inversions=short, control=["random"], convergence={"unconverged": "keep"})
    for metric in RESTING:
        rows = identifiable(table, metric)
        assert rows["value"].notna().all(), metric
        assert rows["reason"].str.contains("did not converge: 0 of 6").all(), metric
        assert rows["reason"].str.contains("half-samples need 8 images or more, found 6").all()
        assert set(rows["kind"]) == {"noise", "other_image"}
        assert set(rows["reference_layer"]) | set(rows["layer"]) == {1, 3}
    assert set(table["first_replaced"].dropna()) <= {0, 1, 3}
    by_kind = identifiable(table, "forgetting").groupby("kind")["value"].sum()
    assert by_kind["noise"] != by_kind["other_image"]
    (first,) = set(of_form(table).query("kind != ''")["kind"])
    assert first == "noise"


def test_constant_features_give_nan_with_their_reason(copied: Plan) -> None:
    def flat(path: Path) -> None:
        save({name: torch.zeros_like(value) for name, value in load(path).items()}, path)

    run = job_of(copied, "trajectory", "finetune")
    disguise(run, "epoch-0002.safetensors", flat)
    table = compared(control=[], convergence={"unconverged": "keep"})
    table = table[table["form"].isin(["", "debiased"])]
    for metric in ("forgetting", "learning", "cka_divergence", "subspace_similarity"):
        rows = table[table["metric"] == metric]
        assert len(rows)
        assert rows["value"].isna().all(), metric
        assert rows["reason"].str.contains("constant features").all(), metric


def test_accuracy_under_corruption_is_that_of_the_network_on_the_corrupted_pictures(
    copied: Plan,
) -> None:
    (artifact,) = (open_artifact(job) for job in copied.jobs("invariance"))
    table = read_table(artifact.file("robustness.parquet")).query("arm == 'finetune'")
    ended = table[table["target_epoch"] == 2].set_index(["corruption", "severity"])
    run = job_of(copied, "trajectory", "finetune")
    (letters,) = run.inputs["data"]
    task = make_task("target", parse(STUDY).tasks["target"], read(letters.path))
    order = torch.Generator().manual_seed(derive_seed("robustness images", "target"))
    chosen = torch.randperm(len(task.test.labels), generator=order)[:6]
    pictures, labels = task.test.images[chosen], task.test.labels[chosen]
    noise = torch.Generator().manual_seed(derive_seed("corruption", "fog", 3))
    foggy = corrupt(pictures.float() / 255, "fog", 3, noise)
    checkpoints = CheckpointSeries(
        open_artifact(run), parse(STUDY).models["vit"], (1, 12, 12), "cpu"
    )
    network = checkpoints.classifier(2).eval()
    for place, shown in ((("clean", 0), pictures.float()), (("fog", 3), (255 * foggy).round())):
        with torch.no_grad():
            answers = network(checkpoints.normalization.apply(shown)).argmax(1)
        expected = float((answers == labels).double().mean())
        assert ended.at[place, "value"] == pytest.approx(expected)
        assert ended.at[place, "n"] == 6


def counted() -> dict[str, ClassCounts]:
    images = dict.fromkeys("ABCDEF", 4)
    return {"letters": ClassCounts(tuple("ABCDEF"), {}, images, images, (1, 12, 12))}


@pytest.mark.parametrize(
    ("options", "channels", "problem"),
    [
        ({"inversions": {"images": 13}, "components": 3}, 1,
         "invariance.vit.inversions.images: 13, but target has 12 test images; ask for fewer"),
        ({"inversions": {"images": 7, "part": "validation"}, "components": 3}, 1,
         "invariance.vit.inversions.images: 7, but target has 6 validation images; ask for fewer"),
        ({"robustness": {"corruptions": ["fogg"]}}, 1,
         "invariance.vit.robustness.corruptions: no corruption 'fogg'; did you mean 'fog'?"),
        ({}, 4, "invariance.vit.robustness.corruptions: target has images of 4 channels, and corruptions "
         "are made for 1 or 3; leave them out"),
        ({}, 1, None),
    ],
)  # fmt: skip
def test_images_and_corruptions_that_there_are_not_are_named_before_anything_runs(
    options: dict[str, Any], channels: int, problem: str | None
) -> None:
    params = changed(**options)
    facts = Facts(params, counted(), {"letters": (channels, 12, 12)})
    found = list(data_problems(params.model_dump(), facts))
    assert found == ([problem] if problem else [])


def test_more_images_than_the_task_has_are_refused_by_the_step_too(copied: Plan) -> None:
    (letters,) = job_of(copied, "trajectory", "finetune").inputs["data"]
    whole = make_task("target", parse(STUDY).tasks["target"], read(letters.path))
    requested = changed(inversions={"images": 13}, components=3).invariance["vit"].inversions
    with pytest.raises(TaskError, match="13 are requested, but target has 12 test images"):
        inversions.draw_reference_images(whole, requested)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"inversions": {"images": 3}}, "greater than or equal to 4"),
        ({"inversions": {"images": 4}, "components": 4}, "4 directions need more than as many images"),
        ({"arms": ["finetun"], "scratch": [], "control": [], "dynamics": {}}, "did you mean 'finetune'"),
        ({"scratch": ["finetune"]}, "'finetune' does not start from random weights"),
        ({"dynamics": {"learning": ["probe"]}}, "dynamics.learning: \\['probe'\\] are not in `arms`"),
        ({"inversions": {"images": 8, "kinds": ["noise", "noise"]}}, "names something twice"),
        ({"scratch": [], "control": ["scratch"]}, "control: scratch needs an arm in `scratch`"),
    ],
)  # fmt: skip
def test_wrong_params_are_named_before_anything_runs(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ParamsError, match=problem):
        changed(**options)


def test_epochs_that_an_arm_does_not_reach_are_not_asked_of_it() -> None:
    plan = Plan(changed(dynamics={"epochs": [1, 9], "learning": ["finetune"]}))
    assert job_of(plan, "inversions", "finetune").params["epochs"] == ["1", "last"]
