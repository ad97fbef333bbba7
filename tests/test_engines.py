"""What no engine may do to finished work: make it again, lose it, or record it damaged. On stand-in steps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import one_line
from stand_in import JOBS, StandIn, finished_stand_in, restored
from workflow import planned

from headstart.maintenance.engines import tend

RATE, OTHER_RATE = "learning_rates: [0.1]", "learning_rates: [0.2]"
IMAGES, OTHER_IMAGES = "train_per_class: 10", "train_per_class: 11"
FOREIGN = "cores: 2\nkeep-going: true\n"
"""A profile without `rerun-triggers`: all of Snakemake's own then count."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Yield a finished study, recorded and committed, and keep a copy of it beside."""
    with finished_stand_in(tmp_path_factory.mktemp("engines")) as project:
        yield project


@pytest.fixture
def project(server: StandIn) -> StandIn:
    restored(server, server.home / "template")
    return server


def artifact(project: StandIn, step: str, name: str = "") -> Path:
    """Return the folder of the first artifact of a step."""
    return sorted((project.folder / "results" / step).glob(f"{name}*"))[0]


def lose(project: StandIn, step: str, name: str = "") -> None:
    """Delete an artifact, and the store's copy of it."""
    folder = artifact(project, step, name)
    shutil.rmtree(folder)
    shutil.rmtree(project.folder / ".store/artifacts" / step / folder.name)


def sound(project: StandIn) -> None:
    """Assert that what is there is what the params ask for, and that both engines see it so."""
    assert "all files are as their manifests say" in project.headstart("verify")
    assert "Nothing to be done" in project.snakemake("-n")


def flip(path: Path) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_absent_input_is_made_again_alone(project: StandIn) -> None:
    lose(project, "data")
    project.snakemake()
    assert [line.split()[0] for line in project.made()] == ["data"]
    sound(project)


def test_a_dataset_edited_and_set_back_trains_nothing(project: StandIn) -> None:
    project.edit("params.yaml", IMAGES, OTHER_IMAGES)
    project.run("dvc", "repro", "data", "check")
    assert sorted(line.split()[0] for line in project.made()) == ["check", "data"]
    project.edit("params.yaml", OTHER_IMAGES, IMAGES)
    project.snakemake()
    assert len(project.made()) == 2
    sound(project)


@pytest.mark.parametrize("triggers", [(), ("--rerun-triggers", "mtime", "params", "input", "code")])
def test_neither_a_foreign_profile_nor_triggers_make_anything_twice(
    project: StandIn, triggers: tuple[str, ...]
) -> None:
    foreign = project.folder / "foreign"
    foreign.mkdir()
    (foreign / "config.yaml").write_text(FOREIGN)
    for _ in range(2):
        project.run("snakemake", "--workflow-profile", "foreign", *triggers)
    lose(project, "transfer")
    for path in project.folder.rglob("*.yaml"):
        os.utime(path)
    for _ in range(2):
        project.run("snakemake", "--workflow-profile", "foreign", *triggers)
    assert [line.split()[0] for line in project.made()] == ["transfer"]
    sound(project)


def test_a_killed_snakemake_whose_jobs_end_alone_loses_nothing(project: StandIn) -> None:
    project.edit("params.yaml", IMAGES, OTHER_IMAGES)
    with project.start("snakemake", "--cores", "2", STAND_IN_SECONDS="0.3"):
        while not any(line.startswith("pretrain") for line in project.made()):
            time.sleep(0.05)
        (snakemake,) = project.running("snakemake")
        os.kill(snakemake, signal.SIGKILL)
    project.settle()
    project.snakemake()
    keys = [line.split()[2] for line in project.made()]
    assert len(keys) == len(set(keys)) == JOBS
    sound(project)


@pytest.mark.parametrize(
    ("step", "damage"),
    [("pretrain", "bit"), ("transfer", "manifest"), ("data", "manifest"), ("tables", "missing")],
)
def test_damage_is_not_recorded_and_the_printed_way_to_fix_it_works(
    project: StandIn, step: str, damage: str
) -> None:
    folder = artifact(project, step)
    before = (folder / "result.json").read_bytes()
    lock = (project.folder / "dvc.lock").read_text()
    if damage == "manifest":
        (folder / "manifest.json").write_bytes(b"")
    elif damage == "bit":
        flip(folder / "result.json")
    else:
        (folder / "result.json").unlink()
    output = project.run("dvc", "repro", fails=True)
    what = {
        "manifest": "manifest.json: damaged",
        "bit": "result.json: damaged",
        "missing": "missing",
    }
    line = one_line(
        output, f"{folder.relative_to(project.folder)}", what[damage], "delete ", "dvc checkout"
    )
    assert what[damage] in project.headstart("verify", fails=True)
    assert (project.folder / "dvc.lock").read_text() == lock
    shutil.rmtree(project.folder / line.partition("delete ")[2].partition(",")[0])
    project.run(*line.partition("then `")[2].partition("`")[0].split())
    assert (folder / "result.json").read_bytes() == before
    sound(project)
    project.run("dvc", "repro")
    assert project.made() == []
    assert (project.folder / "dvc.lock").read_text() == lock


def test_the_printed_way_works_where_dvc_recorded_nothing(project: StandIn) -> None:
    project.edit("params.yaml", RATE, OTHER_RATE)
    project.snakemake()
    made = project.made()
    (folder,) = (
        project.folder / "results/transfer" / f"{line.split()[1]}-{line.split()[2][:12]}"
        for line in made
        if line.startswith("transfer") and "seed0" in line
    )
    flip(folder / "result.json")
    line = one_line(
        project.headstart("verify", fails=True), "result.json: damaged", "snakemake --cores all"
    )
    shutil.rmtree(project.folder / line.partition("delete ")[2].partition(",")[0])
    project.run(*line.partition("and `")[2].partition("`")[0].split())
    assert len(project.made()) == len(made) + 1
    sound(project)


@pytest.mark.parametrize("damage", ["figure", "report", "stamp", "foreign report"])
def test_what_was_published_and_is_damaged_is_published_again(
    project: StandIn, damage: str
) -> None:
    figure, report = project.folder / "figures/transfer.png", project.folder / "report.html"
    (stamp,) = (project.folder / "figures").glob(".[0-9a-f]*")
    before = {path: path.read_bytes() for path in (figure, report, stamp)}
    if damage == "foreign report":
        project.snakemake("--report", "report.html")
        assert report.read_bytes() != before[report]
    else:
        path = {"figure": figure, "report": report, "stamp": stamp}[damage]
        path.write_bytes(path.read_bytes()[:10])
    assert "run `snakemake --cores all`" in project.headstart("verify", fails=True)
    project.run("dvc", "repro")
    assert {path: path.read_bytes() for path in before} == before
    assert project.made() == []
    sound(project)


def test_a_publication_that_was_killed_leaves_no_stale_figure(project: StandIn) -> None:
    """Killed between two files, and the params set back."""
    before = project.figures()
    project.edit("params.yaml", "dots_per_inch: 100", "dots_per_inch: 90")
    project.snakemake("--", "stage_report")
    source = """
import os, sys
from headstart.steps import publish
from headstart.plan import Plan
from headstart.registry import load
real = publish.write_atomically

def write(path, content):
    real(path, content)
    if path.suffix == ".csv":
        os._exit(9)

publish.write_atomically = write
(job,) = Plan(load()).jobs("publish")
publish.publish(job, print)
"""
    done = subprocess.run(
        [os.sys.executable, "-c", source],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.home / "src")},
        check=False,
    )
    assert done.returncode == 9
    project.edit("params.yaml", "dots_per_inch: 90", "dots_per_inch: 100")
    assert "run `snakemake --cores all`" in project.headstart("verify", fails=True)
    project.snakemake()
    assert project.figures() == before
    sound(project)


def test_an_edit_while_a_stage_runs_is_refused_and_parks_nothing(project: StandIn) -> None:
    project.edit("params.yaml", RATE, OTHER_RATE)
    with project.start(
        "dvc", "repro", "--single-item", "transfer", STAND_IN_SECONDS="0.5"
    ) as command:
        while not project.running("snakemake"):
            time.sleep(0.02)
        time.sleep(0.5)
        project.edit("params.yaml", OTHER_RATE, "learning_rates: [0.3]")
    assert command.returncode != 0
    one_line(
        project.said(), "params.yaml: it or the source was edited while transfer ran", "dvc repro"
    )
    assert len(list((project.folder / "results/transfer").iterdir())) == 4
    project.edit("params.yaml", "learning_rates: [0.3]", OTHER_RATE)
    project.run("dvc", "repro")
    assert len([line for line in project.made() if line.startswith("transfer")]) == 2
    sound(project)


def test_verify_names_all_damage_and_another_studys_report(project: StandIn) -> None:
    for step in ("data", "pretrain"):
        (artifact(project, step) / "manifest.json").write_text("{")
    flip(artifact(project, "tables") / "result.json")
    said = project.headstart("verify", fails=True)
    for step in ("data", "pretrain", "tables"):
        one_line(said, str(artifact(project, step).relative_to(project.folder)), "damaged")
    restored(project, project.home / "template")
    project.edit("params.yaml", RATE, OTHER_RATE)
    one_line(project.headstart("verify", fails=True), "of other params or source")


def test_snakemake_ends_on_sigterm_whatever_lock_it_holds() -> None:
    asked = threading.Event()

    class Scheduler:
        lock = threading.Lock()

        def exit_gracefully(self) -> None:
            with self.lock:
                asked.set()

    scheduler, handler = Scheduler(), signal.getsignal(signal.SIGTERM)
    try:
        tend(scheduler)
        with scheduler.lock:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not asked.wait(0.1)
        assert asked.wait(5)
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_the_report_is_a_target(project: StandIn) -> None:
    (project.folder / "report.html").unlink()
    project.snakemake("report.html")
    assert project.made() == []
    sound(project)


def test_snakemakes_own_report_shows_the_figures(project: StandIn) -> None:
    project.snakemake("--report", "workflow.html")
    page = (project.folder / "workflow.html").read_text()
    assert '"figures/transfer.png"' in page
    assert "Is the source-optimal checkpoint the best one to fine-tune?" in page
    assert "Accuracy on the target against the source epoch" in page


def test_where_the_store_is_complete_recording_starts_no_snakemake(project: StandIn) -> None:
    (project.folder / "dvc.lock").unlink()
    never = project.home / "never"
    never.mkdir(exist_ok=True)
    (never / "snakemake").write_text("#!/bin/sh\nexit 7\n")
    (never / "snakemake").chmod(0o755)
    output = project.run("dvc", "repro", PATH=f"{never}:{project.variables()['PATH']}")
    assert output.count("python -m headstart record") == 13
    assert project.run("git", "status", "--porcelain") == ""


def test_a_lock_file_that_dvc_was_killed_over_is_deleted_and_nothing_is_made_again(
    project: StandIn,
) -> None:
    lock = project.folder / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.index("cmd:")])
    assert "dvc.lock' validation failed" in project.run("dvc", "repro", fails=True)
    lock.unlink()
    made = project.made()
    project.run("dvc", "repro")
    assert project.made() == made
    assert lock.read_text() == whole
    sound(project)


def test_a_pulled_clone_has_nothing_to_do(project: StandIn, tmp_path: Path) -> None:
    project.run("dvc", "push", "-q")
    clone = tmp_path / "clone"
    project.run("git", "clone", "-q", ".", str(clone))
    shutil.rmtree(project.folder)
    shutil.move(clone, project.folder)
    project.run("dvc", "pull", "-q")
    sound(project)
    project.run("dvc", "repro")
    assert project.made() == []
    assert project.run("git", "status", "--porcelain") == ""


def test_keys_of_stamps_hold_no_artifact_that_is_gone(project: StandIn) -> None:
    """A stamp says that its artifact is there, also after somebody took it away."""
    project.edit("params.yaml", RATE, OTHER_RATE)
    project.snakemake()
    stamps = sorted((project.folder / ".store/stamps/transfer").iterdir())
    assert len(stamps) >= 2
    for stamp in stamps:
        shutil.rmtree(project.folder / "results/transfer" / stamp.name, ignore_errors=True)
    project.snakemake()
    made = [line for line in project.made() if line.startswith("transfer")]
    assert len(made) == 4
    assert json.loads((artifact(project, "transfer") / "manifest.json").read_text())["digest"]
    sound(project)


@pytest.mark.parametrize("moved", ["results", ".store", "results/pretrain", "figures"])
def test_folders_may_lie_behind_links_on_another_disk(
    project: StandIn, moved: str, other_disk: Path
) -> None:
    shutil.move(project.folder / moved, other_disk / "moved")
    (project.folder / moved).symlink_to(other_disk / "moved")
    sound(project)
    project.edit("params.yaml", RATE, OTHER_RATE)
    project.edit("params.yaml", IMAGES, OTHER_IMAGES)
    project.snakemake()
    made = project.made()
    assert len(made) == JOBS
    project.headstart("park", "data", "pretrain", "transfer", "tables")
    project.edit("params.yaml", OTHER_RATE, RATE)
    project.edit("params.yaml", OTHER_IMAGES, IMAGES)
    project.snakemake()
    assert project.made() == made
    sound(project)
    assert not list((other_disk / "moved").rglob(".*.[0-9]*"))
    if moved == "results":
        one_line(project.run("dvc", "repro", fails=True), "results: a link, in which DVC records")
    else:
        project.run("dvc", "repro", "pretrain")
        assert project.made() == made


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """Yield a folder on another disk than the tests'."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_an_experiment_in_a_temporary_copy_shares_the_store(project: StandIn) -> None:
    """What only the workspace has made is taken; what the copy makes, the workspace takes."""
    project.edit("params.yaml", RATE, OTHER_RATE)
    project.snakemake()
    made = project.made()
    project.edit("params.yaml", OTHER_RATE, RATE)
    path = "transfer.convnet.finetune.learning_rates"
    project.run("dvc", "exp", "run", "--temp", "-S", f"{path}=[0.2]")
    assert project.made() == made
    project.run("dvc", "exp", "run", "--temp", "-S", f"{path}=[0.3]")
    third = project.made()
    assert [line.split()[0] for line in third[len(made) :]].count("transfer") == 2
    project.edit("params.yaml", RATE, "learning_rates: [0.3]")
    project.snakemake()
    assert project.made() == third
    sound(project)


def test_queued_experiments_share_the_store(project: StandIn) -> None:
    for rate in (0.4, 0.1):
        path = "transfer.convnet.finetune.learning_rates"
        project.run("dvc", "exp", "run", "--queue", "-S", f"{path}=[{rate}]")
    project.run("dvc", "exp", "run", "--run-all")
    assert [line.split()[0] for line in project.made()].count("transfer") == 2
    project.edit("params.yaml", RATE, "learning_rates: [0.4]")
    made = project.made()
    project.snakemake()
    assert project.made() == made


def test_where_a_network_fails_the_rest_is_drawn_and_marked(project: StandIn) -> None:
    """By a table with a key of its own, which the whole study's replaces."""
    project.edit("params.yaml", RATE, OTHER_RATE)
    bad = "transfer latin-convnet-cyrillic-finetune-seed1"
    said = project.snakemake(fails=True, STAND_IN_FAILS=bad)
    assert "headstart draw" in said
    project.headstart("draw")
    part = json.loads((project.folder / "metrics.json").read_text())
    assert part["incomplete"] == {"transfer": 1}
    assert json.loads((project.folder / "claims.json").read_text())["incomplete"]
    tables = project.manifests("tables")
    drawn = [one for one in tables.values() if "incomplete" in one["params"]]
    assert [one["params"]["incomplete"] for one in drawn] == [{"transfer": [1, 2]}]
    assert len(drawn[0]["inputs"]) == 5
    one_line(project.headstart("verify", fails=True), "drawn of a part", "snakemake --cores all")
    made = project.made()
    project.headstart("draw")
    assert project.made() == made
    project.snakemake()
    assert "incomplete" not in json.loads((project.folder / "metrics.json").read_text())
    again = [line.split()[0] for line in project.made()[len(made) :]]
    assert sorted(again) == ["claims", "controls", "figures", "report", "tables", "transfer"]
    sound(project)


def test_nothing_is_drawn_where_nothing_is_finished(project: StandIn) -> None:
    project.edit("params.yaml", IMAGES, OTHER_IMAGES)
    one_line(project.headstart("draw", fails=True), "no study has finished jobs yet")


def test_many_jobs_of_a_step_are_started_as_one_and_a_bad_one_stops_no_other(
    tmp_path: Path,
) -> None:
    project = StandIn.new(tmp_path / "study", most=1)
    project.begin()
    try:
        assert planned(project.snakemake("-n"))["pretrain"] == 1
        said = project.snakemake(fails=True, STAND_IN_FAILS="pretrain latin-convnet-seed0")
        one_line(said, "headstart: latin-convnet-seed0: this network fails")
        assert [line.split()[1] for line in project.made() if line.startswith("pretrain")] == [
            "latin-convnet-seed1"
        ]
        project.snakemake()
        keys = [line.split()[2] for line in project.made()]
        assert len(keys) == len(set(keys)) == JOBS
        sound(project)
    finally:
        project.end()


def test_a_full_disk_is_one_line(project: StandIn) -> None:
    """A device that is always full stands where the jobs write."""
    project.edit("params.yaml", RATE, OTHER_RATE)
    output = project.run("snakemake", "--cores", "1", fails=True, STAND_IN_LOG="/dev/full")
    assert "Traceback" not in output
    one_line(output, "No space left on device", "headstart prune", "finished work is kept")
    project.snakemake()
    sound(project)
