"""Snakemake and DVC see one graph: the plan's."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkout import ROOT
from ruamel.yaml import YAML

from headstart.artifacts.code import PACKAGE, closure
from headstart.artifacts.job_file import Chunk, RunFile, write_chunks, write_jobs
from headstart.artifacts.keys import Job
from headstart.maintenance import engines, generate, presets
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import STEPS, STUDIES, Params, function_of, parse
from headstart.steps.publish import stamp_of

STAGES = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
PLAN = Plan(parse(presets.read(presets.find("smoke"))))


def outs(stage: str) -> list[Path]:
    return [Path(next(iter(out))) for out in STAGES[stage]["outs"]]


def output(job: Job) -> Path:
    return stamp_of(job) if job.step == "publish" else job.manifest


def stage_of(job: Job) -> str:
    found = [stage for stage in STAGES if any(out in output(job).parents for out in outs(stage))]
    assert len(found) == 1, f"{output(job)} lies in the outs of {found}"
    return found[0]


def jobs_of(stage: str) -> list[Job]:
    return [job for job in PLAN.jobs() if stage_of(job) == stage]


def modules(stage: str) -> set[Path]:
    """Return the source files that decide what the stage's jobs make."""
    entries = [function_of(job).__module__ for job in jobs_of(stage)]
    for job in jobs_of(stage):
        entries += job.params.get("checks", [])
        for study in job.params.get("studies", {}).values():
            entries += [study["opening"].partition(":")[0]] if study["opening"] else []
        named = {
            "claims": ("evaluator", "answer"),
            "tables": ("gather",),
            "controls": ("controls",),
        }
        entries += [job.params[name].partition(":")[0] for name in named.get(stage, ())]
    files = closure(*entries).values()
    return {path for path in files if path.read_text().count("\n") > 1}


def test_every_output_of_the_workflow_lies_in_exactly_one_stage() -> None:
    for job in PLAN.jobs():
        stage_of(job)


def test_generated_files_are_those_in_the_repository() -> None:
    for name, text in generate.contents().items():
        assert (ROOT / name).read_text() == text, f"{name}: run `headstart generate`"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_makes_verifies_and_parks_its_own_artifacts(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m headstart record {stage}"
    assert (Path("results") / stage in outs(stage)) == (stage != "publish")


@pytest.mark.parametrize("stage", STAGES)
def test_outs_persist(stage: str) -> None:
    assert all(next(iter(out.values())) == {"persist": True} for out in STAGES[stage]["outs"])


@pytest.mark.parametrize("stage", STAGES)
def test_results_that_a_stage_reads_are_its_deps_and_every_such_dep_is_read(stage: str) -> None:
    read = {
        source.path.parent for job in jobs_of(stage) for source in (*job.every_input(), *job.after)
    }
    own = set(outs(stage))
    declared = {Path(dep) for dep in STAGES[stage]["deps"] if dep.startswith("results/")}
    assert declared == read - own


@pytest.mark.parametrize("stage", STAGES)
def test_params_and_all_source_are_deps_of_a_stage(stage: str) -> None:
    """Of the package as a whole, and of what else of the project is in the keys."""
    deps = {Path(dep) for dep in STAGES[stage]["deps"] if not dep.startswith("results/")}
    other = {"tables": {Path("published")}, "claims": {Path("claims.yaml")}}
    other["figures"] = {Path("notebooks")}
    assert deps == {Path("params.yaml"), Path("src/headstart")} | other.get(stage, set())
    assert modules(stage) <= set(PACKAGE.rglob("*.py"))
    assert "params" not in STAGES[stage]


def changed(section: str, *path: str, value: object) -> Plan:
    raw = presets.read(presets.find("smoke"))
    place = raw[section]
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return Plan(Params.model_validate(raw))


def keys(plan: Plan, step: str) -> set[str]:
    return {job.full_key for job in plan.jobs(step)}


def test_a_learning_rate_of_transfer_changes_transfer_and_what_follows_alone() -> None:
    edited = changed("transfer", "convnet", "finetune", "learning_rates", value=[0.1, 0.03])
    assert keys(edited, "pretrain") == keys(PLAN, "pretrain")
    assert keys(edited, "data") == keys(PLAN, "data")
    fresh = {
        job.name for job in edited.jobs("transfer") if job.full_key not in keys(PLAN, "transfer")
    }
    assert fresh == {f"latin-convnet-cyrillic-finetune-seed{seed}" for seed in (0, 1)}
    others = {job.full_key for job in PLAN.jobs() if job.name in ("knowledge", "invariance")}
    for step in ("tables", "controls", "claims", "figures", "report", "publish"):
        assert keys(edited, step) & keys(PLAN, step) <= others

    assert keys(edited, "plasticity") == keys(PLAN, "plasticity")


def test_plasticity_reads_every_target_that_its_model_transfers_to() -> None:
    more = changed("transfer", "vit", "finetune", "targets", value=["cyrillic", "digits"])
    before = changed("transfer", "vit", "finetune", "targets", value=["cyrillic"])
    (alone,), (both,) = before.jobs("plasticity"), more.jobs("plasticity")
    assert set(alone.params["tasks"]) == {"latin", "cyrillic"}
    assert [data.name for data in alone.inputs["data"]] == ["glyphs"]
    assert set(both.params["tasks"]) == {"latin", "cyrillic", "digits"}
    assert [data.name for data in both.inputs["data"]] == ["digits", "glyphs"]


def test_plasticity_switched_off_has_no_jobs_and_changes_no_network() -> None:
    off = changed("plasticity", "enabled", value=False)
    assert not off.jobs("plasticity")
    for step in ("pretrain", "transfer"):
        assert keys(off, step) == keys(PLAN, step)
    assert keys(off, "tables") != keys(PLAN, "tables")


def test_plasticity_of_one_model_leaves_the_others_out() -> None:
    every = changed("plasticity", "models", value=[])
    assert {job.wildcards["model"] for job in every.jobs("plasticity")} == {"convnet", "vit"}
    assert {job.wildcards["model"] for job in PLAN.jobs("plasticity")} == {"vit"}
    assert keys(PLAN, "plasticity") < keys(every, "plasticity")


@pytest.mark.parametrize(
    ("option", "value", "default"),
    [("shrink", 0.4, 1.0), ("perturb", 0.1, 0.0), ("recalibrate_batch_norm", True, False)],
)
def test_an_intervention_changes_its_own_arm_alone_and_switched_off_changes_nothing(
    option: str, value: object, default: object
) -> None:
    edited = changed("transfer", "convnet", "relearn", option, value=value)
    assert keys(edited, "pretrain") == keys(PLAN, "pretrain")
    known = keys(PLAN, "transfer")
    jobs = [job for job in edited.jobs("transfer") if job.full_key not in known]
    fresh = {job.wildcards["arm"] for job in jobs}
    assert fresh == {"relearn"}
    off = changed("transfer", "convnet", "relearn", option, value=default)
    assert keys(off, "transfer") == keys(PLAN, "transfer")


def test_a_new_seed_adds_its_own_networks_and_changes_no_other() -> None:
    edited = changed("pretrain", "convnet", "seeds", value=[0, 1, 2])
    assert keys(PLAN, "pretrain") < keys(edited, "pretrain")
    assert keys(PLAN, "transfer") < keys(edited, "transfer")


def test_another_primary_contrast_changes_tables_and_what_follows_alone() -> None:
    other = {"source": "latin", "model": "vit", "target": "digits", "arm": "finetune", "shots": 3}
    edited = changed("statistics", "primary", value=other)
    different = {step for step in STEPS if keys(edited, step) != keys(PLAN, step)}
    assert different == {"tables", "controls", "claims", "figures", "report", "publish"}
    stated = changed("statistics", "margin", value=1.0)
    assert keys(stated, "tables") == keys(PLAN, "tables")


def test_the_resolution_of_figures_changes_figures_alone() -> None:
    edited = changed("figures", "dots_per_inch", value=77)
    assert keys(edited, "tables") == keys(PLAN, "tables")
    assert keys(edited, "figures") != keys(PLAN, "figures")


def test_a_node_of_a_cluster_knows_what_its_chunk_waits_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every unfinished job is in one chunk, which waits for those of its inputs; a node reads its own alone."""
    Path("params.yaml").write_text(presets.complete_text(presets.find("smoke")))
    monkeypatch.setattr(engines, "MOST", 2)
    run = engines.Run()
    chunks = set(run.chunks.values())
    assert sorted(key for chunk in chunks for key in chunk.jobs) == sorted(run.chunks)
    assert len(run.chunks) == len(PLAN.jobs()) - 1 > len(chunks)
    monkeypatch.setenv(engines.PARAMS, str(run.snapshot))
    monkeypatch.setenv(engines.RUN_FILE, str(run.file))
    node = engines.Node()
    for chunk in chunks:
        jobs = [job for job in PLAN.jobs() if job.key in chunk.jobs]
        needs = {run.chunks[one.key].stamp for j in jobs for one in (*j.every_input(), *j.after)}
        assert set(chunk.needs) == set(node.needs(SimpleNamespace(key=chunk.key))) == needs
        assert chunk.stamp not in needs
    assert node.stamps_of() == []
    monkeypatch.delenv(engines.RUN_FILE)
    with pytest.raises(ParamsError, match="hand the environment over"):
        engines.Node()


@pytest.mark.parametrize("study", [study.name for study in STUDIES])
def test_a_word_in_the_claims_of_one_study_changes_its_claims_and_what_shows_them_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, study: str
) -> None:
    text = (ROOT / "claims.yaml").read_text()
    edited = tmp_path / "claims.yaml"
    edited.write_text(
        text.replace(
            f"    study: {study}\n    statement: ", f"    study: {study}\n    statement: Well, "
        )
    )
    assert edited.read_text() != text
    monkeypatch.setattr("headstart.plan.CLAIMS", edited)
    other = Plan(parse(presets.read(presets.find("smoke"))))
    known = {job.full_key for job in PLAN.jobs()}
    different = {(job.step, job.name) for job in other.jobs() if job.full_key not in known}
    assert different == {("claims", study), ("report", "all"), ("publish", "all")}


def test_an_edit_of_published_values_changes_the_tables_that_hold_them_and_what_follows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copied = shutil.copytree(ROOT / "published", tmp_path / "published")
    edited = copied / "early_stopping.csv"
    edited.write_text(edited.read_text() + "\n")
    monkeypatch.setattr("headstart.plan.PUBLISHED", copied)
    other = Plan(parse(presets.read(presets.find("smoke"))))
    known = {job.full_key for job in PLAN.jobs()}
    different = {(job.step, job.name) for job in other.jobs() if job.full_key not in known}
    study = {(step, "early_stopping") for step in ("tables", "controls", "claims", "figures")}
    assert different == study | {("report", "all"), ("publish", "all")}


def test_the_device_changes_no_key_but_that_of_the_check() -> None:
    edited = changed("runtime", "device", value="cpu")
    different = {step for step in STEPS if keys(edited, step) != keys(PLAN, step)}
    assert different == {"check"}


def test_every_job_has_its_own_key_and_path() -> None:
    jobs = PLAN.jobs()
    assert len({job.key for job in jobs}) == len(jobs)
    assert len({job.path for job in jobs}) == len(jobs)


def test_a_job_reads_itself_from_the_file_of_a_run_as_the_plan_has_it(project: Path) -> None:
    """And nothing of other jobs: the file has what it is made from, too."""
    path = write_jobs(PLAN.jobs(), "cpu")
    chunk = Chunk("data", "glyphs-and-1-more-0123456789ab", ("a", "b"), ("c",))
    for job in PLAN.jobs():
        file = RunFile(write_chunks([chunk], path))
        assert file.device == "cpu"
        assert file.chunk(chunk.key) == chunk
        read = file.job(job.key)
        assert read.full_key == job.full_key
        assert read.path == job.path
        assert read.params == json.loads(json.dumps(job.params))
        assert list(read.inputs) == list(job.inputs)
        mine, its = ([one.full_key for one in each.ancestors()] for each in (job, read))
        assert sorted(mine) == sorted(its)
    with pytest.raises(LookupError):
        file.chunk("0" * 12)
    assert write_jobs(PLAN.jobs(), "cpu") == path
    assert write_jobs(PLAN.jobs(), "auto") != path
