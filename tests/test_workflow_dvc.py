"""The whole study, reduced, under the real DVC: what it records, runs again, and takes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflow import LEARNING_RATES, Project, planned, trained

FINETUNED = [f"transfer latin-convnet-cyrillic-finetune-seed{seed}" for seed in (0, 1)]


@pytest.fixture(scope="module")
def recorded(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the finished project after `dvc repro`, committed."""
    project = finished.copy(tmp_path_factory.mktemp("recorded") / "project")
    output = project.run("dvc", "repro")
    assert trained(output) == [], output
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "results")
    return project


def test_plasticity_switched_off_leaves_an_empty_folder_and_no_jobs(
    recorded: Project, tmp_path: Path
) -> None:
    project = recorded.copy(tmp_path / "project")
    project.edit("params.yaml", "plasticity:\n", "plasticity:\n  enabled: false\n")
    jobs = planned(project.snakemake("-n"))
    assert "plasticity" not in jobs
    assert not {"pretrain", "transfer"} & set(jobs)
    project.run("dvc", "repro", "--single-item", "plasticity")
    assert list((project.folder / "results" / "plasticity").iterdir()) == []
    assert "parked" not in project.headstart("park", "plasticity")


def test_dvc_records_what_snakemake_made_and_its_status_is_clean(recorded: Project) -> None:
    assert "Data and pipelines are up to date" in recorded.run("dvc", "status")
    assert recorded.run("git", "status", "--porcelain") == ""
    assert "Nothing to be done" in recorded.snakemake("-n")


def trains_nothing(project: Project, *command: str) -> None:
    output = project.run(*command)
    assert trained(output) == [], output


def test_a_new_learning_rate_trains_its_own_runs_alone_and_the_way_back_trains_nothing(
    recorded: Project, tmp_path: Path
) -> None:
    """Under DVC alone, and under Snakemake first."""
    project = recorded.copy(tmp_path / "project")

    def published() -> tuple[dict[str, bytes], str]:
        return project.figures(), (project.folder / "report.html").read_text()

    before, other_rates = published(), "learning_rates: [0.1, 0.05]"
    project.edit("params.yaml", LEARNING_RATES, other_rates)
    output = project.run("dvc", "repro")
    assert trained(output) == FINETUNED
    for manifest in project.manifests("transfer").values():
        summary = manifest["summary"]
        if (
            manifest["wildcards"]["arm"] == "finetune"
            and manifest["wildcards"]["model"] == "convnet"
        ):
            assert summary["trained_now"] == summary["runs"] // 2
    assert "up to date" in project.run("dvc", "status")
    assert "Nothing to be done" in project.snakemake("-n")
    edited = published()
    assert edited[0] != before[0]
    assert edited[1] != before[1]

    project.edit("params.yaml", other_rates, LEARNING_RATES)
    trains_nothing(project, "dvc", "repro")
    assert "up to date" in project.run("dvc", "status")
    assert published() == before

    project.edit("params.yaml", LEARNING_RATES, other_rates)
    trains_nothing(project, "snakemake", "--cores", "all")
    assert published() == edited
    # All that trains; what comes after it is as above.
    trains_nothing(project, "dvc", "repro", "transfer", "trajectory")


def test_a_pulled_clone_has_nothing_to_do_and_one_edit_runs_only_what_depends_on_it(
    recorded: Project, tmp_path: Path
) -> None:
    origin = recorded.copy(tmp_path / "origin")
    origin.run("dvc", "remote", "add", "-d", "shelf", str(tmp_path / "shelf"))
    origin.run("git", "commit", "-qam", "remote")
    origin.run("dvc", "push", "-q")
    origin.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull", "-q")
    assert clone.digests() == recorded.digests()
    assert "Nothing to be done" in clone.snakemake("-n")
    clone.edit("params.yaml", "learning_rates: [1e-3]", "learning_rates: [2e-3]")
    output = clone.snakemake()
    assert trained(output) == ["transfer latin-vit-digits-finetune-seed0"]


def test_dvc_exp_run_reads_numbers_as_the_params_file_does(
    recorded: Project, tmp_path: Path
) -> None:
    project = recorded.copy(tmp_path / "project")
    before = project.digests()
    project.run(
        "dvc",
        "exp",
        "run",
        "-S",
        "pretrain.vit.learning_rate=3e-3",
        "-S",
        "figures.dots_per_inch=100",
    )
    assert project.digests() == before
