"""Every command of docs/dvc.md, in its order, on a study of stand-in steps."""

from __future__ import annotations

import json
import re
from pathlib import Path

from checkout import ROOT
from stand_in import JOBS, finished_stand_in

BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/dvc.md").read_text(), flags=re.M | re.S)


def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    said: dict[str, str] = {}
    with finished_stand_in(tmp_path / "study") as project:
        for line in "".join(BLOCKS).splitlines():
            if "remote add" in line:
                project.run("dvc", "remote", "remove", "shelf")
            if "git commit" in line:
                line += " --allow-empty"
            said[line] = project.run("sh", "-c", line)
            if "exp run --run-all" in line:
                tried = [each.split()[0] for each in project.made()[JOBS:]]
        # Of four resolutions each, what draws, and nothing that trains.
        assert tried == ["figures", "report"] * 3
        assert "Nothing to be done" in said["snakemake -n"]
        lock = (project.folder / "dvc.lock").read_text()
        assert lock.count("\n") < 400
        shown = project.run("dvc", "exp", "show", "--only-changed", "--csv")
        assert len(shown.splitlines()[0].split(",")) <= 20
        page = (project.folder / "compared/index.html").read_text()
        found = re.findall(r"var spec = (\{.*?\});\s*vegaEmbed", page, flags=re.S)
        specs = {spec["title"]["text"].split()[0]: spec for spec in map(json.loads, found)}
        assert set(specs) == {"Accuracy", "What"}
        for spec, column in ((specs["Accuracy"], "mean"), (specs["What"], "value")):
            rows = spec["data"]["values"]
            assert "workspace" in {row["rev"] for row in rows}
            assert {float(row[column]) for row in rows} == {5.0}
    assert len(BLOCKS) == 6
