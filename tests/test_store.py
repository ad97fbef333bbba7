"""Artifacts: whole or not there, never changed, and nothing stale is read."""

import errno
import json
import os
import queue
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headstart.artifacts import runs, store
from headstart.artifacts.files import ArtifactError, write_atomically
from headstart.artifacts.keys import STORE, Job
from headstart.artifacts.store import JobContext

pytestmark = pytest.mark.usefixtures("project")

SOURCE = Job("pretrain", "source", "1")
CHILD = Job("transfer", "child", "1", inputs={"pretrain": (SOURCE,)})


class Recipe:
    """A step without torch: writes one file and counts how often it ran."""

    def __init__(self, text: str = "bits") -> None:
        self.text, self.ran = text, 0

    def __call__(self, job: Job, context: JobContext) -> Mapping[str, Any]:
        self.ran += 1
        (context.out / "file.txt").write_text(self.text)
        return {"seed": 0}


def test_an_artifact_is_made_once() -> None:
    recipe = Recipe()
    first, second = store.run(SOURCE, recipe), store.run(SOURCE, recipe)
    assert recipe.ran == 1
    assert first.digest == second.digest
    assert first.file("file.txt").read_text() == "bits"
    assert not list((STORE / "partial").iterdir())


def test_the_manifest_says_what_was_done_and_from_what() -> None:
    source, child = store.run(SOURCE, Recipe()), store.run(CHILD, Recipe())
    manifest = json.loads((CHILD.path / "manifest.json").read_text())
    assert manifest["key"] == CHILD.full_key
    assert manifest["inputs"] == {SOURCE.full_key: source.digest}
    assert manifest["digest"] == child.digest
    assert {
        "step",
        "params",
        "files",
        "seed",
        "device",
        "threads",
        "packages",
        "commit",
        "started",
        "seconds",
    } <= set(manifest)


def test_a_failed_job_leaves_nothing_in_results_and_its_state_for_the_next_try() -> None:
    def fails(job: Job, context: JobContext) -> Mapping[str, Any]:
        (context.out / "half.txt").write_text("half")
        (context.state / "resume.txt").write_text("epoch 3")
        raise RuntimeError("killed")

    def goes_on(job: Job, context: JobContext) -> Mapping[str, Any]:
        assert (context.state / "resume.txt").read_text() == "epoch 3"
        assert not list(context.out.iterdir())
        (context.out / "file.txt").write_text("whole")
        return {}

    with pytest.raises(RuntimeError):
        store.run(SOURCE, fails)
    assert not SOURCE.path.exists()
    assert not list((STORE / "partial").glob("*/out"))
    assert list(store.run(SOURCE, goes_on).manifest["files"]) == ["file.txt"]
    assert not list((STORE / "partial").iterdir())


def test_a_failed_job_without_state_leaves_nothing_at_all() -> None:
    def fails(job: Job, context: JobContext) -> Mapping[str, Any]:
        (context.out / "half.txt").write_text("half")
        raise RuntimeError("no such class")

    with pytest.raises(RuntimeError):
        store.run(SOURCE, fails)
    assert not list((STORE / "partial").iterdir())
    assert not list((STORE / "locks").iterdir())


def test_a_second_process_waits_for_the_one_that_makes_an_artifact_and_takes_it() -> None:
    recipe, begun, told = Recipe(), threading.Event(), queue.Queue[str]()

    def slow(job: Job, context: JobContext) -> Mapping[str, Any]:
        begun.set()
        assert told.get(timeout=10) == "another process makes this; waiting for it"
        return recipe(job, context)

    # A lock belongs to an open file, so that two threads exclude each other as two processes do.
    with ThreadPoolExecutor() as pool:
        first = pool.submit(store.run, SOURCE, slow)
        assert begun.wait(timeout=10)
        second = store.run(SOURCE, slow, log=lambda text, *, detail=False: told.put(text))
    assert recipe.ran == 1
    assert second == first.result()
    assert not list((STORE / "locks").iterdir())


def test_the_lock_of_a_killed_process_locks_nothing() -> None:
    (STORE / "locks").mkdir(parents=True)
    (STORE / "locks" / SOURCE.full_key).write_text("")
    assert store.run(SOURCE, Recipe()).digest
    assert not list((STORE / "locks").iterdir())


def test_unfinished_work_of_another_device_is_discarded() -> None:
    def fails(job: Job, context: JobContext) -> Mapping[str, Any]:
        (context.state / "resume.txt").write_text("epoch 3")
        raise RuntimeError("killed")

    def starts_anew(job: Job, context: JobContext) -> Mapping[str, Any]:
        assert not list(context.state.iterdir())
        return {}

    with pytest.raises(RuntimeError):
        store.run(SOURCE, fails, device="cuda:0")
    store.run(SOURCE, starts_anew, device="cpu")


def test_an_artifact_of_another_key_in_the_same_place_is_refused() -> None:
    store.run(SOURCE, Recipe())
    manifest = json.loads(SOURCE.manifest.read_text())
    manifest["key"] = SOURCE.full_key[:12] + "0" * 52
    SOURCE.manifest.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="holds key"):
        store.open_artifact(SOURCE)
    assert not store.is_made(SOURCE)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "file.txt").write_text("bitz"), "file.txt: damaged"),
        (lambda path: (path / "file.txt").unlink(), "file.txt: missing"),
        (lambda path: (path / "manifest.json").write_text("{"), "manifest.json: damaged"),
        (lambda path: shutil.rmtree(path), "not made yet"),
    ],
)
def test_damage_is_named_with_its_fix(damage: Any, said: str) -> None:
    store.run(SOURCE, Recipe())
    damage(SOURCE.path)
    (problem,) = store.verify([SOURCE])
    assert said in problem
    assert "snakemake --cores all" in problem
    with pytest.raises(ArtifactError, match=said):
        store.run(
            CHILD,
            lambda job, context: {"text": context.input("pretrain").file("file.txt").read_text()},
        )
    assert not CHILD.path.exists()


def test_an_input_that_was_made_again_with_other_bits_is_noticed() -> None:
    store.run(SOURCE, Recipe("bits"))
    store.run(CHILD, Recipe())
    assert store.verify([SOURCE, CHILD]) == []
    shutil.rmtree(SOURCE.path)
    store.run(SOURCE, Recipe("other bits"))
    (problem,) = store.verify([SOURCE, CHILD])
    assert str(CHILD.path) in problem
    assert str(SOURCE.path) in problem
    table = Job("tables", "all", "1", inputs={"transfer": (CHILD,)})
    with pytest.raises(ArtifactError, match="was made from"):
        store.check_lineage(table)


def test_an_input_made_again_with_the_same_bits_is_fine() -> None:
    store.run(SOURCE, Recipe())
    store.run(CHILD, Recipe())
    shutil.rmtree(SOURCE.path)
    store.run(SOURCE, Recipe())
    assert store.verify([SOURCE, CHILD]) == []


def test_what_no_job_needs_is_parked_and_taken_back_without_work() -> None:
    recipe = Recipe()
    store.run(SOURCE, recipe)
    assert store.park(SOURCE.path.parent, []) == [SOURCE.path]
    assert not SOURCE.path.exists()
    store.run(SOURCE, recipe)
    assert recipe.ran == 1
    assert SOURCE.manifest.exists()


def test_parking_keeps_what_is_current_and_makes_the_folder() -> None:
    store.run(SOURCE, Recipe())
    assert store.park(SOURCE.path.parent, [SOURCE.path]) == []
    assert SOURCE.manifest.exists()
    store.park(Path("results/unused"), [])
    assert Path("results/unused").is_dir()


def test_making_an_artifact_again_replaces_the_folder_by_rename() -> None:
    store.run(SOURCE, Recipe())
    before = (SOURCE.path / "file.txt").stat().st_ino
    SOURCE.manifest.unlink()
    store.run(SOURCE, Recipe("new"))
    assert (SOURCE.path / "file.txt").read_text() == "new"
    assert (SOURCE.path / "file.txt").stat().st_ino != before


def test_a_finished_run_is_read_back_and_a_damaged_one_is_not_there() -> None:
    key = runs.run_key({"learning_rate": 0.1})
    assert runs.read_run(key) is None
    runs.write_run(key, {"accuracy": 0.5})
    assert runs.read_run(key) == {"accuracy": 0.5}
    runs.run_path(key).write_text("{")
    assert runs.read_run(key) is None
    # A record of an earlier version, without its sum, still counts.
    runs.run_path(key).write_text(f'{{"key": "{key}", "record": {{"accuracy": 0.5}}}}')
    assert runs.read_run(key) == {"accuracy": 0.5}
    runs.write_run(key, {"accuracy": 0.5, "losses": [float("nan"), 1.0]})
    text = runs.run_path(key).read_text()
    assert runs.read_run(key)["losses"][1] == 1.0
    runs.run_path(key).write_text(text.replace("0.5", "0.7"))
    assert runs.read_run(key) is None


def test_a_file_is_written_whole_or_not_at_all(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "file.txt"
    write_atomically(path, b"old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in project.iterdir()] == ["file.txt"]


def test_an_artifact_moves_to_another_disk_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between `.store` and `results` a rename is not possible; copies that a kill left are no artifacts."""
    rename = os.rename

    def other_disk(source: Path, target: Path) -> None:
        if ".store" in str(source) and ".store" not in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr("os.rename", other_disk)
    half = SOURCE.path.with_name(f".{SOURCE.label}.999999")
    half.mkdir(parents=True)
    (half / "manifest.json").write_text("{}")
    recipe = Recipe()
    assert store.run(SOURCE, recipe).file("file.txt").read_text() == "bits"
    assert not list((STORE / "partial").iterdir())
    assert store.park(SOURCE.path.parent, [SOURCE.path]) == []
    assert [path.name for path in SOURCE.path.parent.iterdir()] == [SOURCE.label]


def test_what_is_kept_takes_no_room_and_is_taken_unless_it_is_damaged() -> None:
    recipe = Recipe()
    store.run(SOURCE, recipe)
    store.keep([SOURCE])
    kept = store.parked_path(SOURCE) / "file.txt"
    assert kept.samefile(SOURCE.path / "file.txt")
    shutil.rmtree(SOURCE.path)
    store.run(SOURCE, recipe)
    assert recipe.ran == 1
    (SOURCE.path / "file.txt").write_text("bitz")  # the file that the store has, too
    shutil.rmtree(SOURCE.path)
    assert store.run(SOURCE, recipe).file("file.txt").read_text() == "bits"
    assert recipe.ran == 2


def test_parked_artifacts_do_not_lead_into_the_cache_of_dvc(project: Path) -> None:
    store.run(SOURCE, Recipe())
    cached = project / "cache"
    shutil.move(SOURCE.path / "file.txt", cached)
    (SOURCE.path / "file.txt").symlink_to(cached)
    store.park(SOURCE.path.parent, [])
    cached.unlink()
    recipe = Recipe()
    assert store.run(SOURCE, recipe).file("file.txt").read_text() == "bits"
    assert recipe.ran == 0


def test_a_damaged_manifest_is_neither_done_nor_to_be_made_again() -> None:
    assert store.unfinished([SOURCE, CHILD]) == [SOURCE, CHILD]
    store.run(SOURCE, Recipe())
    assert store.unfinished([SOURCE, CHILD]) == [CHILD]
    SOURCE.manifest.write_text("")
    with pytest.raises(
        ArtifactError, match=r"manifest.json: damaged.*delete results/pretrain/source"
    ):
        store.unfinished([SOURCE, CHILD])


def test_verify_goes_on_after_a_damaged_manifest_that_others_were_made_from() -> None:
    store.run(SOURCE, Recipe())
    store.run(CHILD, Recipe())
    SOURCE.manifest.write_text("{")
    (CHILD.path / "file.txt").write_text("bitz")
    first, second = store.verify([SOURCE, CHILD])
    assert "source" in first
    assert "child" in second


def test_all_is_on_the_disk_before_it_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power loss a name without its content would count as done."""
    synced: list[str] = []
    rename, sync = os.rename, os.fsync
    monkeypatch.setattr("os.fsync", lambda file: (synced.append(_name(file)), sync(file)))

    def renamed(source: Path, target: Path) -> None:
        if target == SOURCE.path:
            inside = {str(path.resolve()) for path in source.rglob("*")}
            assert inside <= set(synced)
            synced.append("renamed")
        rename(source, target)

    monkeypatch.setattr("os.rename", renamed)
    store.run(SOURCE, Recipe())
    assert "renamed" in synced


def _name(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")
