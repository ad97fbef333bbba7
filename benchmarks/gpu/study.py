"""The CUDA tests, and studies on the GPU whose tables are compared with those of the CPU.

What is trained twice differs by rounding, which training amplifies: most numbers of early stopping agree
all the same. Interactions and inversions are compared on the same trained networks, the CPU's.
"""

from __future__ import annotations

import json
import os
import shutil
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
TRAINED_TWICE, SAME_NETWORKS = 0.90, 0.99
"""Of the rows with the same keys, and of their defined values, that must agree. Training amplifies rounding,
and an accuracy moves by a whole image or not at all: on one CPU, torch 2.11 and 2.15 agree on .94."""
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
    """Run the same study on both devices, the measuring of the CPU's networks on the GPU, and compare tables."""
    cores = os.cpu_count() or 1
    there = "cuda" if GPU else "cpu"
    few, most = max(1, cores // 4), max(1, cores - cores // 4)
    with tempfile.TemporaryDirectory() as base:
        folders = {name: Path(base) / name for name in ("cpu", "there", "measured")}
        for name, folder in folders.items():
            prepare(folder, "cpu" if name == "cpu" else there)
        began = time.monotonic()
        running = {"cpu": begin(folders["cpu"], few), "there": begin(folders["there"], most)}
        names = {
            "cpu": "study on cpu to its tables",
            "there": f"study on {there} to its tables",
            "measured": f"measuring the CPU's networks on {there}",
        }
        failed = []
        while running:
            time.sleep(0.2)
            for name in [name for name, each in running.items() if each.poll() is not None]:
                if running.pop(name).returncode:
                    failed.append(name)
                    print_logs(folders[name])
                report.add(names[name], time.monotonic() - began, "s, since the start")
                if name == "cpu" and not failed:
                    take_networks(folders["cpu"], folders["measured"])
                    running["measured"] = begin(folders["measured"], few)
        if failed:
            raise RuntimeError(f"snakemake failed: {', '.join(names[name] for name in failed)}")
        compare(folders["cpu"], folders["there"], report, "early_stopping")
        for study in ("knowledge", "invariance") if GPU else ():
            compare(folders["cpu"], folders["measured"], report, study)


def take_networks(here: Path, there: Path) -> None:
    """Give a study the data and the trained networks of another, whose keys hold no device."""
    for step in ("data", "check", "pretrain", "trajectory"):
        if (here / "results" / step).exists():
            shutil.copytree(here / "results" / step, there / "results" / step)


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


def compare(here: Path, there: Path, report: Report, study: str) -> None:
    """Compare the tables of one study in two finished projects; a table in another order must be told from them."""
    made = [
        read_json(there / job.manifest)
        for job in _plan(there).jobs()
        if STEPS[job.step].gpu and (there / job.manifest).exists()
    ]
    if GPU:
        on_gpu = sum(each["device"].startswith("cuda") for each in made)
        report.add(f"{study}: jobs on the GPU", on_gpu, "jobs", passed=on_gpu > 0)
    for job in _plan(here).jobs("tables"):
        if not job.name.startswith(study):
            continue
        for path in sorted((here / job.path).glob("*.parquet")):
            other = there / job.path / path.name
            if path.stem not in KEYED or not other.exists():
                continue
            a, b = pd.read_parquet(path), pd.read_parquet(other)
            if len(a):
                needed = TRAINED_TWICE if study == "early_stopping" else SAME_NETWORKS
                _compare_values(f"{job.name} {path.stem}", a, b, report, needed)


def print_logs(folder: Path) -> None:
    """Print the logs of jobs that ended in an error."""
    for path in sorted((folder / "logs").rglob("*.log")):
        text = path.read_text(errors="replace")
        if "Error" in text or "error" in text:
            print(f"== {path.relative_to(folder)}\n{text[-5000:]}", flush=True)


def _plan(folder: Path) -> Plan:
    return Plan(load(folder / "params.yaml"))


def _compare_values(
    name: str, a: pd.DataFrame, b: pd.DataFrame, report: Report, needed: float
) -> None:
    keys = [column for column in a if column not in MEASURED]
    found = "residual" if "residual" in a else "value"
    numbered = []
    for table in (a, b):
        rows = table[keys].astype(object).fillna("").astype(str)
        numbered.append(rows.assign(nth=rows.groupby(keys).cumcount(), value=table[found]))
    both = numbered[0].merge(numbered[1], on=[*keys, "nth"], suffixes=("_a", "_b"))
    matched = len(both) / max(len(a), len(b))
    report.add(f"{name}: rows in both", matched, "share", f"of {len(a)}", passed=matched >= needed)
    # What is undefined in both tables says nothing.
    both = both.dropna(subset=["value_a", "value_b"], how="all")
    if both.empty:
        raise ValueError(f"{name}: no value is defined, so that nothing was compared")
    one, other = both["value_a"].to_numpy(float), both["value_b"].to_numpy(float)
    share = agreement(one, other)
    difference = pd.Series(np.abs(one - other), both.index).fillna(np.inf)
    note = f"of {len(both)}, median difference {difference.median():.1e}, largest {difference.max():.2g}"
    kind = next((column for column in ("metric", "measure") if column in both), None)
    if kind and difference.max():
        note += f" ({both[kind][difference.idxmax()]})"
    report.add(f"{name}: values that agree", share, "share", note, passed=share >= needed)
    wrong = agreement(one, np.random.default_rng(0).permutation(other))
    report.add(f"{name}: that agree when permuted", wrong, "share", passed=wrong < needed)


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of values that agree; an undefined one agrees with none."""
    return float(np.isclose(other, one, rtol=RELATIVE, atol=ABSOLUTE).mean())
