"""What is measured on a GPU runs everywhere, reduced: every section leaves numbers, none an error."""

import json
import math
import os
import subprocess
from pathlib import Path

from checkout import ROOT


def test_every_section_leaves_numbers_and_no_error(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks/gpu.sh"), "--out", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {"tests", "study", "wrn", "values", "inversions", "waiting", "grid", "cka"} <= set(
        found["sections"]
    )
    for name, section in found["sections"].items():
        assert not section["errors"], name
        assert section["rows"] or name == "grid.py", name
        assert all(math.isfinite(row["value"]) for row in section["rows"]), name
    assert (tmp_path / "grid.json").exists()
    assert "everything is as required" in done.stdout
