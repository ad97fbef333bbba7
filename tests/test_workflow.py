"""The whole study, reduced, under the real Snakemake."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from workflow import LEARNING_RATES, Project, new_project, planned

from headstart.figures.page import title_and_caption
from headstart.registry import STEPS, STUDIES
from headstart.studies.early_stopping.verdicts.run_tables import check_table, contrasts


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    return finished.copy(tmp_path / "project")


def test_a_person_reads_what_runs_where_it_logs_and_where_the_figures_are(
    finished: Project,
) -> None:
    output = (finished.folder / "output.txt").read_text()
    assert "[pretrain latin-convnet-seed0] cpu, 260 images of 26 classes, 4 epochs" in output
    epoch = r"epoch   3/4  loss +[\d.]+  accuracy +[\d.]+%  validation +[\d.]+%"
    epoch += r"  best +[\d.]+% \(epoch \d\)  \d+ s left\n"
    (log,) = (finished.folder / "logs/pretrain").glob("latin-convnet-seed0-*.log")
    assert re.search(epoch, log.read_text())
    assert not re.search(epoch, output)
    (log,) = (finished.folder / "logs/plasticity").glob("latin-vit-*.log")
    assert re.search(r"epoch .*  \d+ s left\n", log.read_text())
    assert re.search(r"\d+ jobs in \d+ (s|min)", output)
    assert not any(words in output for words in ("Select jobs", "Touching", "Finished jobid"))
    assert "run 12/12  source epoch 4, 3 shots, draw 1, rate 0.02: validation" in output
    assert "log: logs/pretrain/latin-convnet-seed0" in output
    assert "latin → cyrillic, convnet, finetune, 3 shots, rate tuned: undetermined" in output
    drawn = sum(name.endswith(".png") for name in finished.figures())
    assert f"On one page: report.html ({drawn} figures, also in figures/)" in output
    last = " ".join(output.partition("Does pre-training help?")[2].split())
    answer = json.loads((finished.folder / "claims.json").read_text())["answer"]
    assert all(" ".join(line.split()) in f"Does pre-training help? {last}" for line in answer)
    assert "susceptible to eavesdropping" not in output
    assert "run: dvc repro" in output


def test_the_figures_come_in_three_formats_with_the_table_that_they_draw(finished: Project) -> None:
    names = set(finished.figures())
    for figure in (
        "transfer_convnet",
        "transfer_vit",
        "curve_panels_convnet",
        "curves_convnet",
        "curves_vit",
        "plasticity_vit",
    ):
        assert {f"{figure}.{kind}" for kind in ("pdf", "svg", "png", "csv")} <= names
    published_form = ("ranges_convnet", "ranges_vit", "stems_convnet", "stems_vit")
    for figure in ("gains_convnet", "gains_vit", "learning_rates_convnet", *published_form):
        assert {f"{figure}.{kind}" for kind in ("pdf", "svg", "png", "csv")} <= names
    for figure in ("trust_cyrillic", "flow_cyrillic", "flow_published"):
        assert {f"invariance_{figure}.{kind}" for kind in ("pdf", "svg", "png", "csv")} <= names
    for figure in ("orders_latin_convnet_cyrillic", "exclusivity", "sparsity"):
        assert {f"knowledge_{figure}.{kind}" for kind in ("pdf", "svg", "png", "csv")} <= names
    for figure in ("epochs", "associations", "interventions"):
        name = f"joined_{figure}_latin_convnet_cyrillic"
        assert {f"{name}.{kind}" for kind in ("pdf", "svg", "png", "csv")} <= names
    pages = {f"{study}.html" for study in ("early_stopping", "knowledge", "invariance", "joined")}
    assert {*pages, "verdicts.csv"} <= names
    assert len([name for name in names if name.startswith(".")]) == 1


def test_snakemake_looks_for_ready_jobs_only_when_one_ends(copied: Project) -> None:
    # Its own way is a look every second, once more for every job that has ended.
    refuse = """
from snakemake.scheduling.job_scheduler import JobScheduler
def again(self, delay):
    raise RuntimeError("a look later")
JobScheduler._schedule_reevalutation = again
"""
    shutil.rmtree(copied.folder / "figures")
    copied.edit("Snakefile", "from snakemake.utils", f"{refuse}\nfrom snakemake.utils")
    copied.edit("Snakefile", "    tend(", "    # tend(")
    assert "a look later" in copied.snakemake(fails=True)
    copied.edit("Snakefile", "    # tend(", "    tend(")
    copied.snakemake()
    assert copied.figures()


def test_verdicts_and_claims_read_the_tables_that_the_study_made(finished: Project) -> None:
    said = finished.headstart("verdict").splitlines()
    assert said[1].startswith("*")
    assert "cyrillic" in said[1]
    assert "No pretrained epoch beside the source-best one" in " ".join(" ".join(said).split())
    controlled = finished.headstart("controls")
    assert re.search(r"scratch 10%.*\n +K1 \d", controlled)
    assert re.search(r"unchanged networks.*\n +(.*, )?I9 \d", controlled)
    told = finished.headstart("claims")
    assert told.count("MEASURED HERE") >= 2
    claims = json.loads((finished.folder / "claims.json").read_text())["claims"]
    early = [claim["claim"] for claim in claims if claim["study"] == "early_stopping"]
    assert early == ["C0", "C1", "C1T", "C2", "C2T", "C3", "C4", "C5", "C5T", "C6"]
    assert len([claim for claim in claims if claim["study"] == "knowledge"]) == 8
    assert len([claim for claim in claims if claim["study"] == "invariance"]) == 14
    assert len([claim for claim in claims if claim["study"] == "joined"]) == 4
    for claim in claims:
        assert f"{claim['claim']}  {claim['status'].upper()}:" in told


def without_seconds(page: str) -> str:
    """Return a report without what differs between two runs: times, and the commit of the project."""
    shorter, times = re.subn(r'(<td class="seconds">)[^<]*', r"\1", page)
    assert times >= 6
    return re.sub(r"(<td>)[0-9a-f]{7}(</td><td>cpu)", r"\1–\2", shorter)


def test_the_report_is_one_page_with_all_figures_verdicts_claims_and_what_ran(
    finished: Project,
) -> None:
    page = (finished.folder / "report.html").read_text()
    pictures = [name for name in finished.figures() if name.endswith(".png")]
    data = len(finished.manifests("data"))
    # What the knowledge study masked and the invariance study inverted, on their one target each.
    made = [f'<figure id="figure-{name}_cyrillic">' for name in ("masked", "inverted")]
    assert [page.count(one) for one in made] == [1, 1]
    assert page.count('src="data:image/png;base64,') == len(pictures) + data + len(made)
    assert page.count('<figure id="figure-data_') == data
    assert all(f'href="figures/{name}"' in page for name in pictures)
    assert (
        "Primary contrast. latin to cyrillic, convnet, finetune, 3 shots, tuned rates: undetermined"
        in page
    )
    assert page.count("<td>not measured here</td>") >= 3
    assert page.count("<h3>Controls</h3>") >= 2
    assert "torch " in page
    for folder in finished.manifests("figures"):
        assert f"headstart figures {folder[-12:]}" in page
    for outside in ("http:", "https:", "<script ", "<link", 'src="h', str(finished.folder)):
        assert outside not in page
    kept = finished.manifests("report")
    (folder,) = kept
    again = finished.folder / "results" / "report" / folder / "report.html"
    assert again.read_text() == page


def test_snakemakes_report_has_all_figures_with_their_captions_under_their_questions(
    copied: Project,
) -> None:
    copied.snakemake("--report", "workflow.html")
    text = (copied.folder / "workflow.html").read_text()
    (listed,) = re.findall(r"var categories = (\{.*\});", text)
    categories = json.loads(listed)
    for study in STUDIES:
        assert categories[study.question]["Figures"]
    shown = [name for one in categories.values() for mine in one.values() for name in mine]
    pictures = {f"figures/{name}" for name in copied.figures() if name.endswith(".png")}
    assert set(shown) == {"report.html", *pictures}
    assert len(shown) == len(set(shown))
    for name in pictures:
        title, caption = title_and_caption(copied.folder / name)
        (one,) = re.findall(rf'"{name}": (\{{"name".*?"caption": ".*?"), "mime', text)
        said = json.loads(one + "}")
        assert said["labels"] == {"figure": title}
        plain = html.unescape(re.sub("<.*?>", "", said["caption"]))
        assert " ".join(plain.split()).startswith(caption)
        assert name.replace(".png", ".csv") in said["caption"]


def test_a_report_that_is_gone_is_published_again_and_a_changed_one_is_noticed(
    copied: Project,
) -> None:
    report, claims = copied.folder / "report.html", copied.folder / "claims.json"
    page = report.read_bytes()
    report.unlink()
    claims.write_text("{}")
    assert "claims.json: not as published" in copied.headstart("verify", fails=True)
    jobs = planned(copied.snakemake())
    assert jobs["publish"] == 1
    assert not {"transfer", "tables", "report"} & set(jobs)
    assert report.read_bytes() == page
    assert "all files are as their manifests say" in copied.headstart("verify")


def test_plasticity_has_a_row_for_every_checkpoint_task_and_measure(finished: Project) -> None:
    for folder, manifest in finished.manifests("plasticity").items():
        table = pd.read_parquet(
            finished.folder / "results/plasticity" / folder / "plasticity.parquet"
        )
        undefined = table["value"].isna()
        assert (undefined == (table["reason"] != "")).all()
        assert set(table.loc[undefined, "metric"]) <= {
            "lop_dormant_fraction",
            "effective_learning_rate",
            "source_accuracy_reestimated",  # no batch norm in a transformer
        }
        vit = manifest["wildcards"]["model"] == "vit"
        assert undefined.any() == vit
        kept = {0, 1, 2} if vit else {0, 1, 2, 3, 4}
        assert kept <= set(table["source_epoch"])
        targets = {"latin", "digits"} if vit else {"latin", "cyrillic"}
        rows = table.groupby(["source_epoch", "metric"])["target"].agg(set)
        assert all(rows.xs("effective_rank", level="metric") == targets)
        assert all(rows.xs("random_label_loss", level="metric") == {"latin"})
        assert not table.duplicated(["source_epoch", "target", "metric"]).any()


def test_verdicts_take_no_notice_of_plasticity(finished: Project) -> None:
    (folder,) = (name for name in finished.manifests("tables") if "early_stopping" in name)
    table = pd.read_parquet(finished.folder / "results/tables" / folder / "measurements.parquet")
    plasticity = table["mode"] == "plasticity"
    assert plasticity.any()
    assert contrasts(check_table(table)) == contrasts(table[~plasticity])


def test_a_second_run_has_nothing_to_do_whatever_the_times_of_files(copied: Project) -> None:
    shutil.rmtree(copied.folder / ".snakemake")
    assert "Nothing to be done" in copied.snakemake("-n")


def test_an_edit_of_transfer_plans_no_other_training(copied: Project) -> None:
    copied.edit("params.yaml", LEARNING_RATES, "learning_rates: [0.1, 0.03]")
    jobs = planned(copied.snakemake("-n"))
    assert jobs["transfer"] == 2
    assert "pretrain" not in jobs


def test_every_artifact_is_as_its_manifest_says(finished: Project) -> None:
    assert "all files are as their manifests say" in finished.headstart("verify")


def test_every_manifest_says_the_device_and_those_of_networks_the_precision(
    finished: Project,
) -> None:
    with_networks = ("pretrain", "transfer", "trajectory", "plasticity", "inversions", "invariance")
    with_networks += ("joined", "scores")
    for step in STEPS:
        manifests = finished.manifests(step)
        assert manifests or step == "publish"
        for manifest in manifests.values():
            assert manifest["device"] == "cpu"
            assert manifest["packages"]["torch"]
            if step in with_networks or step == "values":
                assert manifest["dtype"] == "float32"
            else:
                assert manifest.get("dtype") == ("float64" if step == "knowledge" else None)


def test_results_do_not_depend_on_the_number_of_cores_and_figures_are_equal_bytes(
    finished: Project, tmp_path: Path
) -> None:
    other = new_project(tmp_path / "project")
    other.snakemake("--cores", "1")
    assert other.digests() == finished.digests()
    names = {name: content for name, content in finished.figures().items() if name[0] != "."}
    assert {n: c for n, c in other.figures().items() if n[0] != "."} == names
    pages = [(project.folder / "report.html").read_text() for project in (other, finished)]
    assert without_seconds(pages[0]) == without_seconds(pages[1])


def test_an_edit_of_the_training_loop_recomputes_until_it_is_declared_the_same(
    copied: Project,
) -> None:
    loop = "src/headstart/training/rules.py"
    with (copied.folder / loop).open("a") as file:
        file.write("\nUNUSED = 1\n")
    jobs = planned(copied.snakemake("-n"))
    assert (jobs["pretrain"], jobs["transfer"]) == (3, 5)
    for step in (name for name, kind in STEPS.items() if kind.versioned):
        assert ": version " in copied.headstart("version", step, "--same")
    # The check reads the loop's modules too, and its code is no versioned step's.
    assert set(planned(copied.snakemake("-n"))) <= {"all", "check", "total"}
    copied.headstart("version", "pretrain", "--bump")
    assert planned(copied.snakemake("-n"))["pretrain"] == 3


def test_a_network_made_again_with_other_bits_is_noticed_by_verify_and_by_the_tables(
    copied: Project,
) -> None:
    (folder,) = (copied.folder / "results" / "pretrain").glob("latin-convnet-seed1-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    shutil.rmtree(folder)
    copied.snakemake("--", "stage_pretrain")
    assert json.loads((folder / "manifest.json").read_text())["digest"] == manifest["digest"]
    assert "all files are as their manifests say" in copied.headstart("verify")

    # Other bits under the same key, as another machine could make them.
    pretend = json.loads((folder / "manifest.json").read_text())
    history = folder / "normalization.json"
    history.write_text(history.read_text() + "\n")
    pretend["files"]["normalization.json"] = described(history)
    pretend["digest"] = digest_of(pretend["files"])
    (folder / "manifest.json").write_text(json.dumps(pretend))
    said = copied.headstart("verify", fails=True)
    assert "was made from results/pretrain/latin-convnet-seed1" in said
    for tables in (copied.folder / "results" / "tables").iterdir():
        shutil.rmtree(tables)
    output = copied.snakemake(fails=True)
    assert "was made from results/pretrain/latin-convnet-seed1" in output
    assert not list((copied.folder / "results" / "tables").glob("early_stopping-*/manifest.json"))


def described(path: Path) -> dict:
    from headstart.artifacts.store import describe_files

    return describe_files(path.parent)[path.name]


def digest_of(files: dict) -> str:
    from headstart.artifacts.keys import sha256_of

    return sha256_of({name: entry["sha256"] for name, entry in files.items()})


def test_forcing_all_jobs_makes_equal_artifacts(copied: Project) -> None:
    before = copied.digests()
    copied.snakemake("--forceall", "--", "stage_pretrain")
    assert copied.digests() == before


def test_prune_lists_first_and_deletes_only_what_no_job_needs(copied: Project) -> None:
    copied.edit("params.yaml", "dots_per_inch: 100", "dots_per_inch: 90")
    copied.headstart("park", "figures")
    assert "would delete" in copied.headstart("prune")
    assert "deleted" in copied.headstart("prune", "--yes")
    assert "nothing to prune" in copied.headstart("prune")
    assert copied.manifests("transfer")


def test_prune_keeps_finished_runs_while_a_bundle_that_may_want_them_is_unfinished(
    copied: Project,
) -> None:
    assert ".store/runs" in copied.headstart("prune")
    copied.edit("params.yaml", LEARNING_RATES, "learning_rates: [0.1, 0.05]")
    assert ".store/runs" not in copied.headstart("prune")


def test_a_study_without_one_network_is_drawn_with_a_mark_in_figures_and_report(
    copied: Project,
) -> None:
    before = copied.figures()
    (lost,) = copied.folder.glob("results/transfer/latin-convnet-cyrillic-finetune-seed1-*")
    shutil.rmtree(lost)
    copied.headstart("draw")
    words = "4 of 5 transfer"
    assert f"Incomplete: {words}" in (copied.folder / "report.html").read_text()
    drawn = copied.figures()
    assert words in drawn["transfer_convnet.svg"].decode()
    assert drawn["transfer_convnet.png"] != before["transfer_convnet.png"]
    others = [name for name in before if name.startswith("knowledge_") and name.endswith("svg")]
    assert others
    assert all(drawn[name] == before[name] for name in others)
    copied.snakemake()
    assert copied.figures() == before


def test_use_replaces_the_params_and_keeps_the_earlier_file(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.edit("params.yaml", "dots_per_inch: 100", "dots_per_inch: 93")
    said = project.headstart("use", "default")
    kept = project.folder / said.split("kept as ")[1].strip()
    assert "dots_per_inch: 93" in kept.read_text()
    assert project.headstart("use", "smok", fails=True).startswith(
        "headstart: use: 'smok' is no preset"
    )


def histories(project: Project) -> pd.DataFrame:
    """Return every epoch of every network that a study trains, in one order."""
    parts = [
        pd.read_parquet(path).assign(file=path.parent.name[:-13] + path.stem)
        for step in ("pretrain", "transfer", "trajectory")
        for path in sorted((project.folder / "results" / step).glob("*/*.parquet"))
    ]
    return pd.concat(parts, ignore_index=True)


def test_permuted_labels_of_test_images_change_no_choice(finished: Project, tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    images, labels = "dataset.images[split.test]", "new_label[dataset.labels[split.test]].flip(0)"
    project.edit(
        "src/headstart/tasks/task.py",
        "TestImages(*part(split.test))",
        f"TestImages({images}, {labels}, tuple(classes))",
    )
    project.snakemake("stage_transfer", "stage_trajectory")
    before, after = histories(finished), histories(project)
    on_test = [name for name in before if "test_" in name or name == "oracle_peak"]
    pd.testing.assert_frame_equal(before.drop(columns=on_test), after.drop(columns=on_test))
    assert {"best_epoch", "validation_accuracy", "learning_rate", "best"} <= {*before}
    changed = before["test_accuracy"] != after["test_accuracy"]
    assert changed[before["test_accuracy"].notna()].mean() > 0.5
