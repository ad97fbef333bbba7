"""The page that a person sends to another."""

from __future__ import annotations

import pandas as pd
from PIL import Image

from headstart.artifacts import store
from headstart.artifacts.files import write_json, write_table
from headstart.artifacts.keys import Job
from headstart.figures import page
from headstart.plan import described_in_report
from headstart.registry import STEPS
from headstart.statistics.control_results import ControlResult, control_table
from headstart.steps import report
from headstart.studies.early_stopping.figures.verdicts import sentence
from headstart.studies.early_stopping.settings import settings
from headstart.studies.early_stopping.study import STUDY

CLAIM = {
    "claim": "C1",
    "study": "early_stopping",
    "statement": "Earlier < later & so on.",
    "published": "+6.3 points",
    "source": "logs",
    "status": "supported",
    "reason": "Because.",
    "unit": "points",
    "evaluated_by": "earlier_start",
    "control": "its control failed: 2 points, planted: supported in 0 of 20",
    "value": 3.04,
    "low": 1.96,
    "high": 4.0,
}


def verdicts() -> pd.DataFrame:
    row = {"source": "latin", "target": "cyrillic", "model": "net", "arm": "finetune", "shots": "5"}
    row |= {"verdict": "earlier-better", "reason": "It is.", "primary": True, "chosen_epoch": 2}
    row |= {"question": "fixed", "learning_rate": 0.1, "detectable": 1.2}
    row |= {"effect": 3.0, "interval_low": 2.0, "interval_high": 4.0, "p_adjusted": 0.004}
    return pd.DataFrame([row | {"n_seeds": 8, "n_draws": 1}])


def pretraining() -> pd.DataFrame:
    row = {"source": "latin", "model": "net", "target": "cyrillic", "arm": "finetune", "shots": "5"}
    row |= {"start": "2", "status": "supported", "gain": 25.0, "low": 21.0, "high": 29.0, "n": 8}
    row |= {"worth": "14 images", "flags": "", "reason": "Epoch 2 is far better than scratch."}
    other = row | {"target": "digits", "flags": "edge-of-grid: add 2", "reason": "Not shown."}
    return pd.DataFrame([row, other])


def written() -> str:
    """Return the report on artifacts of a study that nobody ran."""

    def tables(_: Job, context: store.JobContext) -> dict:
        write_table(context.out / "verdicts.parquet", verdicts())
        write_table(context.out / "settings.parquet", settings([]))
        write_table(context.out / "pretraining.parquet", pretraining())
        return {}

    def figures(_: Job, context: store.JobContext) -> dict:
        for name in ("gains_net", "transfer_net", "unknown_kind"):
            Image.new("L", (400, 10)).save(context.out / f"{name}.png", dpi=(100, 100))
        (context.out / "gains_net.csv").write_text("a\n")
        return {}

    def claims(_: Job, context: store.JobContext) -> dict:
        content = {"paper": "A paper.", "evaluated_on": "Evaluated on: latin.", "claims": [CLAIM]}
        write_json(context.out / "claims.json", content)
        return {}

    def controls(_: Job, context: store.JobContext) -> dict:
        silent = ControlResult(
            "earlier_start", "shuffled epochs", "negative", ["undetermined"] * 20
        )
        weak = ControlResult("earlier_start", "2 points", "planted", ["undetermined"] * 20)
        table = control_table("early_stopping", [silent, weak])
        write_table(context.out / "controls.parquet", table)
        return {}

    gathered, drawn = (Job(step, "early_stopping", "code") for step in ("tables", "figures"))
    evaluated, controlled = (Job(step, "early_stopping", "code") for step in ("claims", "controls"))
    made = {gathered: tables, drawn: figures, evaluated: claims, controlled: controls}
    for job, function in made.items():
        store.run(job, function)
    inputs = {job.step: (job,) for job in made}
    params = {"studies": {STUDY.name: described_in_report(STUDY)}, "steps": list(STEPS)}
    job = Job("report", "all", "code", {}, params, inputs)
    return store.run(job, report.make).file("report.html").read_text(encoding="utf-8")


def test_the_page_holds_verdict_claim_with_interval_figures_in_order_and_versions(project) -> None:
    text = written()
    assert (
        "Primary contrast. latin to cyrillic, net, finetune, 5 shots, rate 0.1: earlier-better"
        in text
    )
    assert "+3.0 [+2.0, +4.0] points" in text
    assert '<td class="supported">supported</td>' in text
    assert "<p class=primary>Epoch 2 is far better than scratch.</p>" in text
    assert "Not shown." not in text
    assert "<td>+25.0 points [+21.0, +29.0]</td><td>8</td><td>14 images</td><td>–</td>" in text
    assert "<td>edge-of-grid: add 2</td>" in text
    assert "Earlier &lt; later &amp; so on." in text
    order = [text.index(f"figures/{name}.png") for name in ("transfer_net", "gains_net")]
    assert sorted(order) == order
    assert "<b>unknown kind</b>" in text
    assert text.count('style="width: 4.00in"') == 3
    assert 'href="figures/gains_net.csv"' in text
    assert "gains_net.pdf" not in text
    assert "numpy " in text


def test_the_page_begins_with_the_first_claim_and_says_which_controls_failed(project) -> None:
    text = written()
    first = text[: text.index("<h2>")]
    assert "<b>C1 supported: Earlier &lt; later &amp; so on.</b> Because." in first
    assert first.count("Beware: its control failed: 2 points, planted: supported in 0 of 20.") == 1
    assert "<h3>Controls</h3>" in text
    assert (
        "In 1 of 1 controls that hold nothing, judges stayed silent. "
        "In 0 of 1 controls that hold the effect, they found it; failed by C1."
    ) in text
    assert "<td>supported ≥ 80%</td><td>NO</td>" in text


def test_the_same_artifacts_give_the_same_bytes(project) -> None:
    first = written()
    for path in (project / "results" / "report").iterdir():
        path.rename(project / path.name)
    assert written() == first


def test_a_verdict_is_a_sentence_with_effect_interval_and_n() -> None:
    row = verdicts().iloc[0].to_dict()
    said = sentence(row)
    assert "earlier-better, +3.0 points [+2.0, +4.0] from epoch 2" in said
    assert "(n = 8 source networks × 1 draw). It is." in said
    assert "points" not in sentence({**row, "effect": float("nan")})


def test_text_is_escaped_and_decided_claims_stand_out() -> None:
    frame = pd.DataFrame({"<b>": ["a & b", "contradicted"]})
    text = page.table(frame)
    assert "<th>&lt;b&gt;</th>" in text
    assert "a &amp; b" in text
    assert '<td class="contradicted">' in text
