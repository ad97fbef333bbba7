"""The CUDA tests, and a study on the GPU whose tables are compared with those of the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import GPU, Report

from headstart.artifacts.files import read_json
from headstart.plan import Plan
from headstart.registry import STEPS, load

ROOT = Path(__file__).resolve().parents[2]
ABSOLUTE, RELATIVE = 0.01, 0.01
"""Two values agree if |a - b| is at most `ABSOLUTE` + `RELATIVE` |a|."""
SHARE = 0.95
"""Of the rows with the same keys, and of their values, that must agree: networks of a few hundred weights
amplify rounding, and an accuracy moves by a whole image or not at all."""
MEASURED = ("value", "low", "high", "n", "residual", "undefined", "device", "reason")
"""Columns that say what was found, not of what."""
KEYED = ("curves", "measurements", "residuals")


def tests(report: Report) -> None:
    """Run the tests that need a GPU; without one they are all skipped."""
    files = sorted(
        path for path in (ROOT / "tests").rglob("test_*.py") if "mark.cuda" in path.read_text()
    )
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.xml"
        command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-n", "0", "-m", "cuda", "-q"]
        command += [
            "-W",
            "default",
            "-p",
            "no:cacheprovider",
            "--durations=5",
            f"--junitxml={found}",
        ]
        subprocess.run([*command, *map(str, files)], cwd=ROOT, check=False)
        (suite,) = ElementTree.parse(found).getroot().iter("testsuite")
    number = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    wrong = number["failures"] + number["errors"]
    passed = number["tests"] - wrong - number["skipped"]
    complete = not wrong and bool(passed if GPU else number["skipped"])
    report.add("passed", passed, "tests", f"{number['skipped']} skipped")
    report.add("failed", wrong, "tests", passed=complete)


def study(report: Report) -> None:
    """Run the same study on both devices at the same time, and compare every table."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as base:
        folders = {"cpu": Path(base) / "cpu", "there": Path(base) / "there"}
        device = {"cpu": "cpu", "there": "cuda" if GPU else "cpu"}
        share = {"cpu": max(1, cores // 4), "there": max(1, cores - cores // 4)}
        for name, folder in folders.items():
            prepare(folder, device[name])
        began = time.monotonic()
        running = {name: begin(folder, share[name]) for name, folder in folders.items()}
        failed = []
        while running:
            time.sleep(0.2)
            for name in [name for name, each in running.items() if each.poll() is not None]:
                if running.pop(name).returncode:
                    failed.append(device[name])
                taken = time.monotonic() - began
                title = f"study on {device[name]} to its tables"
                report.add(title, taken, "s", f"{share[name]} cores")
        compare(folders["cpu"], folders["there"], report)
        if failed:
            print_logs(folders["there"])
            raise RuntimeError(f"snakemake failed in the study on {' and on '.join(failed)}")


def prepare(folder: Path, device: str) -> None:
    """Lay down a project with the smoke study, or a part of it where there is no GPU."""
    folder.mkdir()
    run = [sys.executable, "-m", "headstart", "init", "smoke"]
    subprocess.run(run, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    params = load(folder / "params.yaml").model_dump(mode="json", exclude_none=True)
    params["runtime"] = {"device": device}
    if not GPU:
        for section in ("knowledge", "invariance", "trajectory"):
            params[section] = {}
        params["plasticity"] = {"enabled": False}
        for section in ("models", "pretrain", "transfer"):
            del params[section]["vit"]
        del params["transfer"]["convnet"]["relearn"], params["tasks"]["digits"]
        del params["datasets"]["digits"]
        params["pretrain"]["convnet"]["seeds"] = [0]
    (folder / "params.yaml").write_text(json.dumps(params))  # JSON is YAML


def begin(folder: Path, cores: int) -> subprocess.Popen[bytes]:
    """Start snakemake; jobs share the GPU, which they would not do where results are made."""
    environment = {
        **os.environ,
        "HEADSTART_GPU": "1" if GPU else "0",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "stage_tables"]
    command += ["--resources", f"gpu={cores}"]
    return subprocess.Popen(command, cwd=folder, env=environment)


def compare(here: Path, there: Path, report: Report) -> None:
    """Compare the tables of two finished studies; a table in another order must be told from them."""
    devices = [
        read_json(there / job.manifest)["device"]
        for job in _plan(there).jobs()
        if STEPS[job.step].gpu and (there / job.manifest).exists()
    ]
    if GPU:
        on_gpu = sum(device.startswith("cuda") for device in devices)
        report.add("jobs on the GPU", on_gpu, "jobs", passed=on_gpu == len(devices) > 0)
    for job in _plan(here).jobs("tables"):
        for path in sorted((here / job.path).glob("*.parquet")):
            other = there / job.path / path.name
            if path.stem not in KEYED or not other.exists():
                continue
            a, b = pd.read_parquet(path), pd.read_parquet(other)
            if len(a):
                _compare_values(f"{job.name} {path.stem}", a, b, report)


def print_logs(folder: Path) -> None:
    """Print the logs of jobs that ended in an error."""
    for path in sorted((folder / "logs").rglob("*.log")):
        text = path.read_text(errors="replace")
        if "Error" in text or "error" in text:
            print(f"== {path.relative_to(folder)}\n{text[-5000:]}", flush=True)


def _plan(folder: Path) -> Plan:
    return Plan(load(folder / "params.yaml"))


def _compare_values(name: str, a: pd.DataFrame, b: pd.DataFrame, report: Report) -> None:
    keys = [column for column in a if column not in MEASURED]
    numbered = []
    for table in (a, b):
        rows = table[keys].astype(object).fillna("").astype(str)
        numbered.append(rows.assign(nth=rows.groupby(keys).cumcount(), value=table["value"]))
    both = numbered[0].merge(numbered[1], on=[*keys, "nth"], suffixes=("_a", "_b"))
    matched = len(both) / max(len(a), len(b))
    report.add(f"{name}: rows in both", matched, "share", f"of {len(a)}", passed=matched >= SHARE)
    one, other = both["value_a"].to_numpy(float), both["value_b"].to_numpy(float)
    share = agreement(one, other)
    difference = pd.Series(np.abs(one - other)).fillna(0.0)
    note = f"median difference {difference.median():.1e}, largest {difference.max():.2g}"
    kind = next((column for column in ("metric", "measure") if column in both), None)
    if kind and difference.max():
        note += f" ({both[kind][difference.idxmax()]})"
    report.add(f"{name}: values that agree", share, "share", note, passed=share >= SHARE)
    wrong = agreement(one, np.random.default_rng(0).permutation(other))
    report.add(f"{name}: that agree when permuted", wrong, "share", passed=wrong < SHARE)


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of values that agree; NaN agrees with NaN."""
    return float(np.isclose(other, one, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True).mean())
