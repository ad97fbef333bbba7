"""Scores of masked images: those of the network, kept by content, and never of a wrong question."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_study import STUDY

from headstart.artifacts import store
from headstart.artifacts.files import file_sha256, read_json
from headstart.artifacts.keys import Job
from headstart.plan import Plan
from headstart.registry import Params
from headstart.steps import check, data, pretrain, trajectory
from headstart.steps.sections import model_of, task_of
from headstart.studies.knowledge import KnowledgeError, subjects, values
from headstart.studies.knowledge.params import Baseline, GridPlayers, MaskPlayers, Scores
from headstart.tasks import TaskError
from headstart.tasks.batches import Normalization
from headstart.tasks.task import Task, make_task, read
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.checkpoints import load

pytestmark = pytest.mark.usefixtures("project")
ARM: dict[str, Any] = {"targets": ["target"], "learning_rate": 0.1, "epochs": 2, "batch_size": 8}
ARM |= {"seeds": [0]}
PLAYERS = {"kind": "grid", "rows": 2, "columns": 2}
SCORES = {"images": 5, "players": PLAYERS, "chunk_size": 6, "repeat_images": 2}


@pytest.fixture(scope="module", autouse=True)
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the images and train the networks of all tests once."""
    folder = tmp_path_factory.mktemp("trained")
    functions = {"data": data.make, "pretrain": pretrain.make, "trajectory": trajectory.make}
    with contextlib.chdir(folder):
        for job in planned().jobs(*functions):
            store.run(job, functions[job.step])
    return folder / "results"


@pytest.fixture
def project(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project folder, the current one, in which the networks are trained."""
    shutil.copytree(results, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(**options: Any) -> Plan:
    """Return the plan of a study of knowledge on one network."""
    arms = {
        "finetune": {**ARM, "source_epochs": [2]},
        "scratch": {**ARM, "source_epochs": [0]},
        "probe": {**ARM, "mode": "probe", "source_epochs": [0, 2]},
    }
    raw = {**STUDY, "transfer": {}, "trajectory": {"convnet": arms}}
    raw["pretrain"] = {"convnet": {**STUDY["pretrain"]["convnet"], "seeds": [0]}}
    return Plan(Params.model_validate({**raw, "knowledge": {"convnet": {**SCORES, **options}}}))


def of_arm(of: Plan, arm: str) -> Job:
    return next(job for job in of.jobs("values") if job.wildcards["arm"] == arm)


def target(job: Job) -> Task:
    return make_task("target", task_of(job.params), read(job.inputs["data"][0].path))


def test_values_are_the_log_odds_of_the_network_on_images_masked_by_hand() -> None:
    job = of_arm(planned(), "finetune")
    artifact = store.run(job, values.make)
    images = load(artifact.file("images.safetensors"))
    contents = read_json(artifact.file("states.json"))
    assert [state["target_epoch"] for state in contents["states"]] == [0, 1, 2]
    state = contents["states"][-1]
    tensors = load(artifact.file(state["file"]))
    source = store.open_artifact(job.inputs["trajectory"][0])
    network = (
        CheckpointSeries(source, model_of(job.params), images["pixels"].shape, "cpu")
        .network(2)
        .eval()
    )
    seen = Normalization.from_dict(read_json(source.file("normalization.json")))
    task = target(job)
    mean = task.train.images.double().mean()  # one channel
    for index, label in enumerate(images["labels"].tolist()):
        for subset in range(16):
            shown = torch.zeros(8, 8, dtype=torch.bool)
            for player, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
                if subset >> player & 1:
                    shown[row : row + 4, column : column + 4] = True
            pixels = torch.where(shown, images["pixels"][index].double(), mean).float()
            with torch.no_grad():
                logits = network(seen.apply(pixels.unsqueeze(0)))[0]
            others = torch.cat([logits[:label], logits[label + 1 :]])
            expected = float(logits[label] - others.logsumexp(0))
            assert float(tensors["values"][index, subset]) == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(tensors["repeat"], tensors["values"][:2])
    assert torch.equal(images["pixels"], task.test.images[images["positions"]])


SOME = {
    "players": {"kind": "grid", "rows": 2, "columns": 3},
    "masks": 48,
    "images": 2,
}


def test_scores_of_some_masks_are_those_of_all_masks_at_the_same_places() -> None:
    def opened(**options: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
        artifact = store.run(of_arm(planned(**options), "finetune"), values.make)
        states = read_json(artifact.file("states.json"))["states"]
        images = load(artifact.file("images.safetensors"))
        return images, [load(artifact.file(state["file"])) for state in states]

    images, drawn = opened(**SOME)
    _, every = opened(players=SOME["players"], images=2)
    places = (images["masks"].long() << torch.arange(6)).sum(1)
    assert places[:2].tolist() == [0, 63]
    assert len(places.unique()) == 48
    for some, known in zip(drawn, every, strict=True):
        torch.testing.assert_close(some["values"], known["values"][:, places])
        assert torch.equal(some["logits"], known["logits"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"masks": 65}, "masks 65: 6 players have 64"),
        ({"and_or": True}, "and_or: AND and OR are told apart by all 2\\^n masks"),
        (
            {"players": {"kind": "grid", "rows": 14, "columns": 14}},
            "max_order 3: 196 players have 1,255,087 subsets .* 65,536 are possible",
        ),
    ],
)
def test_masks_that_cannot_be_and_orders_that_are_too_many_are_refused(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        planned(**SOME | options)


def test_a_killed_job_goes_on_and_more_images_or_another_start_compute_only_what_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "PART", 2)
    computed: list[int] = []
    real = values.subset_scores

    def counted(network: Any, inputs: Any, labels: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(computed) == 4:
            computed.append(0)
            raise KeyboardInterrupt
        computed.append(len(labels))
        return real(network, inputs, labels, *rest)

    monkeypatch.setattr(values, "subset_scores", counted)
    of = planned()
    job = of_arm(of, "finetune")
    with pytest.raises(KeyboardInterrupt):
        store.run(job, values.make)
    first = store.run(job, values.make)
    # Three networks × 5 images, and 2 of the best one again; nothing twice.
    assert sum(computed) == 3 * 5 + 2
    before = len(computed)
    more = of_arm(planned(images=7), "finetune")
    second = store.run(more, values.make)
    assert sum(computed[before:]) == 3 * 3  # parts of 2: images 5 to 7 lie in new ones
    one, two = (load(each.file("state-000.safetensors")) for each in (first, second))
    assert torch.equal(two["values"][:5], one["values"])


def test_images_are_balanced_over_classes_and_fewer_are_among_more() -> None:
    job = of_arm(planned(), "probe")
    test = target(job).test
    chosen = [
        subsets.tolist() for subsets in (subjects.balanced(test, n, "target") for n in (4, 9))
    ]
    assert chosen[1][:4] == chosen[0]
    assert sorted(test.labels[chosen[0]].tolist()) == [0, 1, 2, 3]
    assert max(torch.bincount(test.labels[chosen[1]])) == 3
    assert subjects.balanced(test, 9, "other").tolist() != chosen[1]


@pytest.mark.parametrize("kind", ["mean", "zero", "blurred", "shift", "learned"])
def test_hidden_pixels_show_what_was_requested(kind: str, project: Path) -> None:
    task = target(of_arm(planned(), "probe"))
    seen = Normalization((0.5,), (0.25,))
    images = seen.apply(task.test.images[:3].float())
    options: dict[str, Any] = {"kind": kind}
    if kind == "learned":
        save_file({"baseline": torch.full((1, 8, 8), 7.0)}, project / "learned.safetensors")
        options |= {"path": "learned.safetensors"}
        options |= {"sha256": file_sha256(project / "learned.safetensors")}
    hidden = subjects.hidden_by(Baseline.model_validate(options), images, seen, task)
    mean = (float(task.train.images.float().mean()) / 255 - 0.5) / 0.25
    expected = {
        "mean": torch.full((1, 1, 1), mean),
        "zero": torch.zeros(1, 1, 1),
        "shift": torch.clamp(torch.full_like(images, mean), images - 2, images + 2),
        "learned": torch.full_like(images, 7.0),
    }
    if kind == "blurred":
        assert hidden.shape == images.shape
        assert float(hidden.var()) < float(images.var())
        return
    torch.testing.assert_close(hidden, expected[kind], rtol=1e-4, atol=1e-4)


def masks(project: Path, **tensors: torch.Tensor) -> dict[str, Any]:
    path = project / "masks.safetensors"
    numbers = torch.ones(2, 8, 8, dtype=torch.int64)
    numbers[:, 4:] = 2
    save_file({"positions": torch.tensor([3, 1]), "segmentation": numbers, **tensors}, path)
    return {"kind": "masks", "path": path.name, "sha256": file_sha256(path), "players": 2}


def test_players_may_be_parts_that_somebody_drew(project: Path) -> None:
    of = planned(players=masks(project))
    artifact = store.run(of_arm(of, "probe"), values.make)
    images = load(artifact.file("images.safetensors"))
    assert images["positions"].tolist() == [3, 1]
    assert images["players"].shape == (2, 2, 8, 8)
    tensors = load(artifact.file("state-000.safetensors"))
    assert tensors["values"].shape == (2, 4)


def checked(**options: Any) -> str:
    """Return what the check says of a section `knowledge`, before any network trains."""
    (job,) = planned(**options).jobs("check")
    with pytest.raises(TaskError) as error:
        store.run(job, check.make)
    return str(error.value)


def test_what_cannot_be_evaluated_is_said_before_any_network_trains(project: Path) -> None:
    said = checked(images=13)
    assert said == (
        "knowledge.convnet: on target: 13 images are requested, the test part has 12; ask for fewer"
    )
    said = checked(players={"kind": "grid", "rows": 9, "columns": 9, "cells": [[0, 0], [3, 3]]})
    assert "player 0 has no pixels" in said
    assert "coarser grid" in said
    other = torch.zeros(2, 4, 4, dtype=torch.int64)
    assert "has shape (2, 4, 4), (2, 8, 8)" in checked(players=masks(project, segmentation=other))
    absent = torch.ones(2, 8, 8, dtype=torch.int64)
    assert "has no pixels" in checked(players=masks(project, segmentation=absent))
    twice = torch.tensor([5, 5])
    assert "name [5] more than once" in checked(players=masks(project, positions=twice))
    beyond = torch.tensor([1, 99])
    assert "within the 12 test images" in checked(players=masks(project, positions=beyond))
    wrong = masks(project) | {"sha256": "0" * 64}
    assert "but the params say 000" in checked(players=wrong)


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (torch.zeros(1, 4, 4), "learned.safetensors: a baseline of shape (1, 4, 4) does not fit"),
        (torch.zeros(3, 1, 8, 8), "does not fit images of shape (5, 1, 8, 8)"),
        (torch.full((1, 8, 8), torch.nan), "learned.safetensors: the learned baseline holds NaN"),
    ],
)
def test_a_baseline_that_does_not_fit_is_said_before_any_network_trains(
    project: Path, baseline: torch.Tensor, said: str
) -> None:
    path = project / "learned.safetensors"
    save_file({"baseline": baseline}, path)
    options = {"kind": "learned", "path": path.name, "sha256": file_sha256(path)}
    assert said in checked(baseline=options)


def test_the_noise_is_measured_with_another_chunk_size_whatever_it_is() -> None:
    sizes = [1, 2, 3, 6, 128]
    assert [values.another_chunk(size) for size in sizes] == [2, 1, 1, 2, 42]


def test_networks_trained_on_other_classes_than_the_images_have_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = values.choose_subjects

    def others(options: Scores, task: Task) -> subjects.Subjects:
        return replace(real(options, task), classes=("D", "E", "F", "X"))

    monkeypatch.setattr(values, "choose_subjects", others)
    said = r"was trained on the classes \('D', .* the images have \('D', 'E', 'F', 'X'\)"
    with pytest.raises(KnowledgeError, match=said):
        store.run(of_arm(planned(), "probe"), values.make)


def test_probabilities_in_place_of_logits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    job = of_arm(planned(), "finetune")
    real = CheckpointSeries.network

    def softened(self: CheckpointSeries, epoch: int) -> Any:
        network = real(self, epoch)
        network.register_forward_hook(lambda _m, _i, logits: logits.softmax(-1))
        return network

    monkeypatch.setattr(CheckpointSeries, "network", softened)
    with pytest.raises(KnowledgeError, match="look like probabilities"):
        store.run(job, values.make)


def test_the_number_of_players_is_known_without_images() -> None:
    assert Scores().players.count == 12
    assert (0, 0) not in GridPlayers(kind="grid", corners=False).offered
    drawn = GridPlayers(kind="grid", rows=8, columns=8, margin=1, draw=10)
    assert drawn.available == 36
    assert drawn.count == 10
    masked = MaskPlayers(kind="masks", path="x", sha256="0" * 64, players=3)
    assert masked.count == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 5), (4, 4), (5, 3)])
@pytest.mark.parametrize("margin", [0, 1])
def test_a_grid_offers_the_cells_within_its_margin(shape: tuple[int, int], margin: int) -> None:
    rows, columns = (range(margin, n - margin) for n in shape)
    for corners in (True, False):
        options = {"rows": shape[0], "columns": shape[1], "margin": margin, "corners": corners}
        grid = GridPlayers.model_construct(kind="grid", **options)
        inner = {(row, column) for row in rows for column in columns}
        if inner and not corners:
            inner -= {(r, c) for r in (rows[0], rows[-1]) for c in (columns[0], columns[-1])}
        assert set(grid.offered) == inner
        assert grid.available == len(inner)
