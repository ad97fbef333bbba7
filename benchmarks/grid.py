"""Fine-tuning runs a second: a grid as one program, against one run at a time.

Every way trains the same runs: the default study's ConvNet, 5 images of each of 33 classes of 16 × 16 pixels,
batches of 32, 16 epochs, validated after each, tested at five; every run from weights and with a learning rate
of its own. Against K runs as one program stand a process for each run, one run after the other in a process,
and `torch.func.vmap`. On the CPU one thread computes and its CPU time counts, so that other programs disturb
little; on a GPU the clock counts. Ways take turns, and the fastest of the rounds counts. From the repository's
root:

    python benchmarks/grid.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from headstart.networks import stacked
from headstart.networks.build import build
from headstart.params.models import ConvNet
from headstart.params.recipe import Selection, Training
from headstart.tasks.batches import Normalization
from headstart.tasks.task import Task, TestImages, TrainImages, ValidationImages
from headstart.training.assembly import RunImages, RunSeeds, train_group, train_run
from headstart.training.device import one_thread, reproducible

CLASSES, SIZE = 33, 16
MODEL = ConvNet(kind="convnet", width=8)
RATES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
TRAINING = Training.model_validate(
    {
        "epochs": 16,
        "batch_size": 32,
        "optimizer": {"name": "sgd", "weight_decay": 5e-4},
        "schedule": {"name": "cosine"},
        "channels_last": True,
    }
)
RULES: dict[str, Any] = {
    "mode": "finetune",
    "selection": Selection(),
    "test_epochs": {1, 4, 8, 16},
    "fingerprint": "",
}
ONE_BY_ONE, PROCESSES, VMAP, OURS = "one by one", "a process each", "torch.func.vmap", "headstart"


def images() -> RunImages:
    """Return random images in the numbers of the default study."""
    generator = torch.Generator().manual_seed(0)
    names = tuple(map(str, range(CLASSES)))

    def part(kind: Any, per_class: int) -> Any:
        labels = torch.arange(CLASSES).repeat(per_class)
        shape = (len(labels), 1, SIZE, SIZE)
        pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return kind(pixels, labels, names)

    train, validation, test = part(TrainImages, 5), part(ValidationImages, 5), part(TestImages, 25)
    return RunImages(
        train, Task("cyrillic", names, train, validation, test), Normalization((0.5,), (0.3,))
    )


def one_by_one(runs: int, device: str) -> None:
    shared = images()
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            network = build(MODEL, 1, SIZE, CLASSES, run)
            rate, seeds = RATES[run % len(RATES)], RunSeeds("transfer", ("benchmark",))
            more = {"device": device, "resume": Path(folder) / "state", "report": lambda _: None}
            train_run(network, shared, TRAINING, rate, seeds, **RULES, **more)


def together(runs: int, device: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = train_group(
            [build(MODEL, 1, SIZE, CLASSES, run) for run in range(runs)],
            [images()] * runs,
            TRAINING,
            [RATES[run % len(RATES)] for run in range(runs)],
            [RunSeeds("transfer", ("benchmark",))] * runs,
            runs,
            device=device,
            resume=Path(folder) / "state",
            report=lambda _: None,
            **RULES,
        )
    assert found is not None


def mapped(runs: int, device: str) -> None:
    with mock.patch.object(stacked, "KINDS", stacked.KINDS[1:]):
        together(runs, device)


def a_process_each(runs: int, device: str) -> None:
    for _ in range(runs):
        command = [sys.executable, __file__, "--device", device, "--one"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def seconds(work: Callable[[int, str], None], runs: int, device: str) -> float:
    """Return what so many runs take: CPU time, of child processes too; on a GPU the time that passes."""

    def clock() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
            return time.perf_counter()
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + child.ru_utime + child.ru_stime

    start = clock()
    work(runs, device)
    return clock() - start


def measure(options: argparse.Namespace) -> dict[str, dict[int, float]]:
    """Return seconds per run of each way and number of runs."""
    plan: list[tuple[str, Callable[[int, str], None], int]] = [
        (PROCESSES, a_process_each, 1),
        (ONE_BY_ONE, one_by_one, 1),
    ]
    plan += [(OURS, together, runs) for runs in options.runs]
    plan += [(VMAP, mapped, runs) for runs in options.runs if runs <= options.vmap_up_to]
    found: dict[str, dict[int, float]] = {way: {} for way in (PROCESSES, ONE_BY_ONE, VMAP, OURS)}
    started = time.monotonic()
    for turn in range(options.rounds):
        for way, work, runs in plan:
            late = time.monotonic() - started > options.seconds
            if late or (turn and way in (PROCESSES, VMAP)):
                continue
            taken = seconds(work, runs, options.device) / runs
            found[way][runs] = min(taken, found[way].get(runs, taken))
    return found


def table(found: dict[str, dict[int, float]]) -> str:
    """Return the table: milliseconds per run, and how much faster ours is."""
    alone, process = found[ONE_BY_ONE][1], found[PROCESSES][1]
    lines = [
        f"{'K':>4} {OURS:>12} {ONE_BY_ONE:>16} {PROCESSES:>18} {VMAP:>18}   (ms a run, and times ours)"
    ]
    for runs, ours in found[OURS].items():
        mapped_ = found[VMAP].get(runs)
        cells = [
            f"{1e3 * each:9.0f} {each / ours:5.1f}x" if each else f"{'':>16}"
            for each in (alone, process, mapped_)
        ]
        lines.append(f"{runs:>4} {1e3 * ours:>12.0f} " + "  ".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if gpu else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--runs", type=int, nargs="+", help="K; default 1 to 32, on a GPU to 512")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=45 if gpu else 3600, help="start nothing after so long"
    )
    parser.add_argument("--vmap-up-to", type=int, default=32, help="the largest K for vmap")
    parser.add_argument("--out", type=Path, help="folder for grid.json")
    parser.add_argument("--one", action="store_true", help="train one run and end")
    options = parser.parse_args()
    if options.device == "cpu":
        one_thread()
    reproducible(torch.device(options.device))
    if options.one:
        return one_by_one(1, options.device)
    options.runs = options.runs or (
        [1, 8, 64, 512] if options.device == "cuda" else [1, 2, 4, 8, 16, 32]
    )
    where = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else platform.processor() or platform.machine()
    )
    print(f"torch {torch.__version__}, {where}, {os.cpu_count()} cores, one thread")
    found = measure(options)
    print(table(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        content = {"device": where, "torch": torch.__version__, "seconds_per_run": found}
        (options.out / "grid.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
