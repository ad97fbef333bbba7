"""What `headstart plan` says before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import done, refused
from workflow import Project

from headstart.artifacts.files import shared
from headstart.maintenance import estimate, presets
from headstart.maintenance.estimate import Estimate, plan_text
from headstart.plan import Plan
from headstart.registry import STEPS, parse

PRESETS = sorted(path.stem for path in shared("presets").glob("*.yaml"))


def planned(name: str) -> Plan:
    return Plan(parse(presets.read(presets.find(name))))


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}


def held(folder: Path) -> list[int]:
    return [file.stat().st_size for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_estimated_without_data_and_its_jobs_are_the_plans(name: str) -> None:
    plan = planned(name)
    found = rows(plan_text(plan, timing=False))
    for step in STEPS:
        assert int(found.get(step, ["0"])[0].replace(",", "")) == len(plan.jobs(step)), step


def test_files_and_disk_are_within_a_factor_of_two_of_the_finished_smoke_study(
    finished: Project,
) -> None:
    found = Estimate(planned("smoke"))
    for step, costs in found.costs.items():
        # Pictures and tables of a study so small are smaller than others.
        if STEPS[step].cost and step not in ("tables", "figures", "report", "publish"):
            sizes = held(finished.folder / "results" / step)
            disk = sum(map(found.disk, costs))
            files = sum(cost.files + cost.checkpoints for cost in costs)
            assert disk / 2 < sum(sizes) < 2 * disk, step
            assert files / 2 < len(sizes) < 2 * files, step


def test_runs_of_a_published_protocol_are_counted() -> None:
    costs = Estimate(planned("gutstein_caltech")).costs["transfer"]
    assert sum(cost.runs for cost in costs) == 550


def test_runs_of_further_grids_are_counted() -> None:
    (part,) = {
        (len(job.params["transfer"]["source_epochs"]), cost.runs)
        for job, cost in zip(
            planned("default").jobs("transfer"),
            Estimate(planned("default")).costs["transfer"],
            strict=True,
        )
        if job.wildcards["arm"] == "finetune" and job.wildcards["model"] == "convnet"
        if job.wildcards["target"] == "cyrillic"
    }
    # Eight starts at six rates; four at four with one shot, and three at five with twenty.
    assert part == (8, 8 * 6 + 4 * 4 + 3 * 5)


def test_a_comparison_of_knowledge_has_the_seconds_that_the_default_took_and_grows_with_its_terms() -> (
    None
):
    took = {"convnet": 36.0, "vit": 16.3}
    raw = presets.read(presets.find("default"))
    seconds = {}
    for players, masks, order in ((4, None, 3), (7, 2000, 2), (7, 2000, 3), (7, 4000, 3)):
        grid = {"kind": "grid", "rows": players, "columns": players, "corners": players > 4}
        grid |= {"draw": 10} if players == 4 else {}
        options = {"players": grid, "masks": masks, "max_order": order}
        knowledge = {name: {**each, **options} for name, each in raw["knowledge"].items()}
        plan = Plan(parse({**raw, "knowledge": knowledge}))
        costs = zip(plan.jobs("knowledge"), Estimate(plan).costs["knowledge"], strict=True)
        seconds[players, masks, order] = {job.wildcards["model"]: c.seconds for job, c in costs}
    full, *sampled = seconds.values()
    assert full == pytest.approx(took, rel=0.1)
    assert sampled == sorted(sampled, key=lambda each: each["vit"])
    # Sixteen times the terms, twice the masks.
    assert sampled[1]["vit"] > 10 * sampled[0]["vit"]
    assert sampled[2]["vit"] > 1.5 * sampled[1]["vit"]


def test_a_step_without_a_cost_is_counted_by_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = STEPS | {"transfer": replace(STEPS["transfer"], cost="")}
    monkeypatch.setattr(estimate, "STEPS", changed)
    plan = planned("smoke")
    text = plan_text(plan, timing=False)
    assert rows(text)["transfer"] == [str(len(plan.jobs("transfer"))), *"–––––"]
    assert "transfer" in text.split("no estimate: ")[1].splitlines()[0]


def test_a_timed_estimate_gives_seconds_to_jobs_that_train() -> None:
    found = Estimate(planned("smoke"), torch.device("cpu"))
    assert all(0 < found.seconds(cost) < 600 for cost in found.costs["pretrain"])


def test_the_largest_step_is_advice_only_where_networks_are_asked() -> None:
    assert "figures takes" in (text := plan_text(planned("smoke")))
    assert "whatever the params say" in text
    raw = presets.read(presets.find("smoke"))
    raw["pretrain"] = {name: {**each, "epochs": 10**6} for name, each in raw["pretrain"].items()}
    assert "its section is what to change" in plan_text(Plan(parse(raw)))


def test_recalibration_shows_the_training_images_once_more_every_epoch() -> None:
    plan = planned("recommended")
    arms = {"clipped": 0.0, "recalibrated": 0.0}
    expected = 0
    for job, cost in zip(plan.jobs("transfer"), Estimate(plan).costs["transfer"], strict=True):
        if (arm := job.wildcards["arm"]) in arms:
            arms[arm] += cost.evaluated
        if arm == "recalibrated":
            epochs = job.params["transfer"]["epochs"]
            expected += cost.trained // epochs * (epochs + 1)
    assert expected > 0
    assert arms["recalibrated"] - arms["clipped"] == expected


def test_the_command_needs_no_clone_and_refuses_what_is_no_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done("plan", "default", "--no-timing")
    plan = planned("default")
    runs = sum(cost.runs for cost in Estimate(plan).costs["transfer"])
    assert rows(capsys.readouterr().out)["transfer"][:2] == [
        str(len(plan.jobs("transfer"))),
        f"{runs:,}",
    ]
    refused("plan", "defalt", said=("plan: 'defalt' is no preset", "default"))
    refused("plan", said=("params.yaml: no such file",))


def test_images_that_are_not_there_are_said_to_be_assumed() -> None:
    assert "are assumed" in plan_text(planned("folder"), timing=False)
    assert "are assumed" not in plan_text(planned("smoke"), timing=False)


def test_without_the_gpu_that_the_params_ask_for_jobs_are_counted_all_the_same() -> None:
    text = plan_text(planned("recommended"))
    assert rows(text)["pretrain"][0] != "0"
    assert "Hours are left out: runtime.device: 'cuda', but torch finds no GPU" in text


@pytest.mark.parametrize(("step", "image"), [(1.0, 0.1), (0.0, 0.001), (2.0, 0.0)])
def test_a_batch_too_large_to_time_follows_from_two_smaller_ones(
    step: float, image: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step costs what it costs, and every image adds to it: a small batch alone would count the step double."""
    now = [0.0]

    class Slow(torch.nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            now[0] += step + image * len(images)
            return super().forward(images.flatten(1))

    monkeypatch.setattr(estimate.time, "process_time", lambda: now[0])
    found = estimate._seconds(Slow(48, 2).eval(), (), (3, 4, 4), 64, torch.device("cpu"))
    assert found == pytest.approx(step / 64 + image)


def test_plasticity_sees_no_more_images_than_a_task_holds_out() -> None:
    raw = presets.read(presets.find("folder"))
    costs = {}
    for held in (10, 500):
        raw["tasks"]["animals"] |= {"validation_per_class": held}
        costs[held] = Estimate(Plan(parse(raw))).costs["plasticity"][0]
    # Six classes: 60 images are fewer than a batch of the random-label probe, 3,000 are more.
    checkpoints, steps = costs[10].runs, 100
    vehicles = min(256, 4 * 50)
    assert costs[10].trained == checkpoints * (60 + vehicles + steps * 60)
    assert costs[500].trained == checkpoints * (256 + vehicles + steps * 64)


@pytest.mark.parametrize(
    ("hours", "text"), [(5234.0, "5,200"), (412.0, "410"), (4.93, "4.9"), (0.00083, "0.00083")]
)
def test_hours_have_two_digits_and_no_exponent(hours: float, text: str) -> None:
    assert estimate._hours(hours) == text
