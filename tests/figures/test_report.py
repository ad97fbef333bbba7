"""The page that a person sends to another."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from browser import DARK, ask, needs_chromium, printed_pictures
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from headstart import __version__
from headstart.artifacts import store
from headstart.artifacts.files import write_json, write_table
from headstart.artifacts.keys import Job
from headstart.figures import page
from headstart.plan import described_in_report
from headstart.registry import STEPS
from headstart.statistics.answers import Statement, records
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
    row |= {"question": "fixed", "learning_rate": 0.1, "detectable": 1.2, "flags": ""}
    row |= {"effect": 3.0, "interval_low": 2.0, "interval_high": 4.0, "p_adjusted": 0.004}
    return pd.DataFrame([row | {"n_seeds": 8, "n_draws": 1}])


def pretraining() -> pd.DataFrame:
    row = {"source": "latin", "model": "net", "target": "cyrillic", "arm": "finetune", "shots": "5"}
    row |= {"start": "2", "status": "supported", "gain": 25.0, "low": 21.0, "high": 29.0, "n": 8}
    row |= {"worth": "14 images", "flags": "", "reason": "Epoch 2 is far better than scratch."}
    other = row | {"target": "digits", "flags": "edge-of-grid: add 2", "reason": "Not shown."}
    return pd.DataFrame([row, other])


def choices() -> pd.DataFrame:
    row = {
        "source": "latin",
        "model": "net",
        "arm": "finetune",
        "split": "new networks",
        "reason": "",
    }
    row |= {
        "left_out": "",
        "regime": "tuned",
        "reference": "best on other draws",
        "floor": 1.0,
        "cost": 0.0,
    }
    lost = {"rule": "last", "regret": 1.5, "low": 1.0, "high": 2.0, "cells": 8}
    return pd.DataFrame(
        [row | lost, row | {**dict.fromkeys(lost), "reason": "Two networks are too few."}]
    )


def written() -> str:
    """Return the report on artifacts of a study that nobody ran."""

    def tables(_: Job, context: store.JobContext) -> dict:
        write_table(context.out / "verdicts.parquet", verdicts())
        write_table(context.out / "choices.parquet", choices())
        write_table(context.out / "settings.parquet", settings([]))
        write_table(context.out / "pretraining.parquet", pretraining())
        return {}

    def figures(_: Job, context: store.JobContext) -> dict:
        for shade, name in enumerate(("gains_net", "transfer_net", "stems_net", "unknown_kind")):
            about = PngInfo()
            if name == "gains_net":
                about.add_text("Title", "Cyrillic from latin: gain?")
                about.add_text("Description", "Ring: the chosen one.")
            path = context.out / f"{name}.png"
            Image.new("L", (400, 10), shade).save(path, dpi=(100, 100), pnginfo=about)
        (context.out / "gains_net.csv").write_text("a\n")
        return {}

    def claims(_: Job, context: store.JobContext) -> dict:
        content = {"paper": "A paper.", "evaluated_on": "Evaluated on: latin.", "claims": [CLAIM]}
        said = Statement("start", "Yes < no, by {}.", [("+3.0 points", "C1")], "gains_net")
        content["answer"] = records([said])
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
    assert '<tr id="C1"><td>C1</td>' in text
    assert "<td>+3.0 points [+2.0, +4.0]</td>" in text
    assert '<td class="supported">supported</td>' in text
    assert "<p class=primary>Epoch 2 is far better than scratch.</p>" in text
    assert "Not shown." not in text
    lost = "points of accuracy lost to the checkpoint that is best on other draws, with tuned rates"
    assert f"<p class=primary>latin, net: {lost}: last +1.5 [+1.0, +2.0].</p>" in text
    assert "<p class=note>Two networks are too few.</p>" in text
    assert "<td>+25.0 points [+21.0, +29.0]</td><td>8</td><td>14 images</td><td>–</td>" in text
    assert "<td>edge-of-grid: add 2</td>" in text
    assert "Earlier &lt; later &amp; so on." in text
    names = ("transfer_net", "gains_net", "Appendix: more figures</h3>", "stems_net")
    order = [text.index(name, text.index("<h3>Figures")) for name in names]
    assert sorted(order) == order
    assert "<b>unknown kind</b>" in text
    assert text.count('style="width: 4.00in"') == 4
    assert 'alt="Cyrillic from latin: gain? Ring: the chosen one."' in text
    assert 'href="figures/gains_net.csv"' in text
    assert "gains_net.pdf" not in text
    assert "numpy " in text


def test_the_page_begins_with_the_answer_and_says_which_controls_failed(project) -> None:
    text = written()
    first = text[: text.index("<nav")]
    assert "<dt>Is an earlier start better?</dt>" in first
    assert 'Yes &lt; no, by <a href="#C1">+3.0 points</a>.' in first
    assert '(<a href="#figure-gains_net">figure</a>)' in first
    assert (
        '<a href="#C1">C1</a>: the judge says yes where nothing is, so do not believe it.' in first
    )
    assert f"<td>{__version__}</td>" in first
    beware = "Because. Beware: its control failed: 2 points, planted: supported in 0 of 20."
    assert text.count(beware) == 1
    assert "<h3>Controls</h3>" in text
    assert (
        "In 1 of 1 controls that hold nothing, judges said so no more often than chance allows. "
        "In 0 of 1 controls that hold an effect, they found it often enough; failed by C1."
    ) in text
    assert "<td>supported ≥ 80%: at least 13 of 20</td><td>NO</td>" in text


class Outline(HTMLParser):
    """Collects anchors and links of a page, and which elements are left open."""

    VOID = ("meta", "img", "br", "li")

    def __init__(self) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        self.anchors += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.open += [tag] if tag not in self.VOID else []

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_every_link_on_the_page_leads_to_one_place_and_every_element_ends(project) -> None:
    outline = Outline()
    outline.feed(written())
    outline.close()
    assert outline.open == []
    assert len(set(outline.anchors)) == len(outline.anchors)
    inside = [link[1:] for link in outline.links if link.startswith("#")]
    assert len(inside) > 8
    assert set(inside) <= set(outline.anchors)


PICTURES = 4
LOWEST_CONTRAST = """(() => {
  const part = one => { const x = one / 255; return x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; };
  const light = rgb => .2126 * part(rgb[0]) + .7152 * part(rgb[1]) + .0722 * part(rgb[2]);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const paper = one => {
    for (; one; one = one.parentElement) {
      const rgb = numbers(getComputedStyle(one).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  let lowest = 21, count = 0;
  for (const one of document.body.querySelectorAll("*")) {
    if (![...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    if (["SCRIPT", "STYLE"].includes(one.tagName)) continue;
    const both = [light(numbers(getComputedStyle(one).color)), light(paper(one))].sort((a, b) => a - b);
    lowest = Math.min(lowest, (both[1] + .05) / (both[0] + .05));
    count += 1;
  }
  return [lowest, count, light(paper(document.body))].join(" ");
})()"""
"""The lowest contrast of words and what is behind them, how many places have words, how light the page is."""


@needs_chromium
def test_nothing_is_wider_than_a_phone_and_all_pictures_are_shown(project) -> None:
    page = html.escape(written(), quote=True)
    frame = f'<iframe style="width:390px;height:800px;border:0" srcdoc="{page}"></iframe>'
    inner = "document.querySelector('iframe').contentDocument"
    question = f"""[{inner}.documentElement.scrollWidth, {inner}.images.length,
      [...{inner}.images].filter(one => one.naturalWidth && one.alt).length].join(" ")"""
    width, *shown = map(int, ask(project / "phone.html", frame, question).split())
    assert width <= 390
    assert shown == [PICTURES, PICTURES]


@needs_chromium
def test_a_click_on_a_number_or_a_line_of_the_contents_goes_there(project) -> None:
    question = """[...document.querySelectorAll("nav a, dl.answer a")].map(one => {
      one.click();
      const there = document.querySelector(":target");
      return there && there.checkVisibility() && location.hash === one.getAttribute("href") ? "yes" : "no";
    }).join(" ")"""
    went = ask(project / "clicks.html", written(), question).split()
    assert len(went) > 8
    assert set(went) == {"yes"}


@needs_chromium
@pytest.mark.parametrize("options", [(), DARK], ids=["light", "dark"])
def test_words_are_seen_on_a_light_and_on_a_dark_page(project, options) -> None:
    found = ask(project / "contrast.html", written(), LOWEST_CONTRAST, options)
    lowest, places, paper = map(float, found.split())
    assert places > 100
    assert lowest >= 4.5
    assert (paper < 0.1) == bool(options)


@needs_chromium
def test_all_pictures_are_printed(project) -> None:
    assert printed_pictures(project / "print.html", written()) == PICTURES


@needs_chromium
def test_tables_sort_by_a_press_of_a_key_by_number_where_they_hold_numbers(project) -> None:
    frame = pd.DataFrame({"name": ["b", "a", "c"], "gain": ["+10.0 [+1, +2]", "-2.5", "+9.1"]})
    question = """(() => {
      const sorted = [];
      for (const press of [1, 1, 0]) {
        document.querySelectorAll("th button")[press].focus();
        document.activeElement.click();
        sorted.push([...document.querySelectorAll("td:first-child")].map(one => one.textContent).join(""));
      }
      return [...sorted, document.querySelectorAll("th")[0].ariaSort].join(" ");
    })()"""
    text = page.whole("t", [], [page.table(frame)])
    assert ask(project / "sorted.html", text, question) == "acb bca abc ascending"


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
    assert '<th scope="col">&lt;b&gt;</th>' in text
    assert "a &amp; b" in text
    assert '<td class="contradicted">' in text


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_words_stand_out_from_the_page_light_dark_and_printed() -> None:
    palettes = re.findall(r":root \{(.*?)\}", page.STYLE, flags=re.DOTALL)
    assert len(palettes) == 3
    for palette in palettes:
        colours = dict(re.findall(r"--(\w+): (#\w+)", palette))
        paper = luminance(colours.pop("paper"))
        colours.pop("line")
        assert len(colours) == 5
        for name, colour in colours.items():
            low, high = sorted((paper, luminance(colour)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name
