"""Time the Möbius transform against a dense matrix, and masked scores against a plain loop.

Run `python benchmarks/interactions.py`; `--max-n 12` leaves out the matrix of n = 14, which needs 1 GB.
All rows of a table are measured in one run, on one thread unless `--threads` says otherwise.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.metrics.interactions.masking import grid_players, pixel_inputs
from headstart.metrics.interactions.scores import log_odds, subset_scores
from headstart.metrics.interactions.transform import membership, mobius
from headstart.studies.knowledge.params import GridPlayers

SIZE, PLAYERS, GRID, CHUNK = 64, 12, 4, 256
CELLS = GridPlayers(kind="grid", rows=GRID, columns=GRID, corners=False).offered


def seconds(call: Callable[[], object], at_least: float = 0.3) -> float:
    """The median time of a call, over repetitions that fill `at_least` seconds, after one warm-up."""
    call()
    times: list[float] = []
    while sum(times) < at_least:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def dense_matrix(players: int) -> Tensor:
    """The matrix with entry (−1)^{|S|−|T|} in row S and column T ⊆ S, row by row, in float32."""
    columns = torch.arange(2**players)
    signs = 1 - 2 * (membership(players).sum(0) % 2).float()
    matrix = torch.zeros(2**players, 2**players)
    for row in range(2**players):
        subsets = (columns & row) == columns
        matrix[row, subsets] = signs[row] * signs[subsets]
    return matrix


def time_transform(players: int) -> str:
    """One row: times of building and applying the matrix and of the fast transform, then ratios."""
    tables = torch.randn(64, 2**players)
    table = tables[0]
    start = time.perf_counter()
    matrix = dense_matrix(players)
    build = time.perf_counter() - start
    torch.testing.assert_close((matrix @ table).double(), mobius(table), atol=1e-2, rtol=1e-3)
    dense, dense_64 = seconds(lambda: matrix @ table), seconds(lambda: tables @ matrix.T)
    fast, fast_64 = seconds(lambda: mobius(table)), seconds(lambda: mobius(tables))
    times = "".join(f"{1e3 * t:11.3f}" for t in (build, dense, dense_64, fast, fast_64))
    ratios = f"{(build + dense) / fast:13,.0f} {dense / fast:10.2f} {dense_64 / fast_64:10.2f}"
    return f"{players:4d} {4 ** (players + 1) / 2**20:8.2f}{times} |{ratios}"


def time_transforms(max_players: int) -> None:
    print("Möbius transform: dense float32 matrix against the fast transform in float64")
    print(f"{'':13s}{'matrix, ms':^33s}{'fast, ms':^22s} |{'matrix ÷ fast':^35s}")
    print("   n       MB      build    1 table  64 tables    1 table  64 tables |", end="")
    print("  built, used   cached 1  cached 64")
    for players in (8, 10, 12, 14):
        if players <= max_players:
            print(time_transform(players), flush=True)
    print("Where a ratio is below 1, the dense matrix wins if it is built once and kept.\n")


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 64, 10),
    ).eval()


def grid_masks() -> Tensor:
    """All 2^n masks on the grid, [2^n, 1, rows, columns]."""
    masks = torch.ones(2**PLAYERS, 1, GRID, GRID)
    for (row, column), member in zip(CELLS, membership(PLAYERS), strict=True):
        masks[:, 0, row, column] = member.float()
    return masks


def loop_inputs(image: Tensor, baseline: Tensor, masks: Tensor) -> Tensor:
    """Every mask upsampled to the image, on clones of image and baseline, one after the other."""
    inputs = []
    for mask in masks:
        full = F.interpolate(mask[None], size=(SIZE, SIZE), mode="nearest")[0]
        visible, hidden = image.clone(), baseline.clone()
        inputs.append(visible * full + hidden * (1 - full))
    return torch.stack(inputs)


@torch.no_grad()
def loop_scores(
    network: nn.Module, image: Tensor, label: Tensor, baseline: Tensor, batch: int
) -> Tensor:
    scores = []
    for masks in grid_masks().split(batch):
        logits = network(loop_inputs(image, baseline, masks))
        scores.append(log_odds(logits, label.expand(len(masks))))
    return torch.cat(scores)


def time_values() -> None:
    network, image, baseline = (
        small_network(),
        torch.randn(3, SIZE, SIZE),
        torch.zeros(3, SIZE, SIZE),
    )
    label = torch.tensor([1])
    players = grid_players(SIZE, SIZE, GRID, GRID, CELLS)

    def broadcast() -> Tensor:
        inputs = pixel_inputs(image[None], players, baseline)
        return subset_scores(network, inputs, label, PLAYERS, CHUNK)[0]

    loops = {
        "loop, one forward per mask": 1,
        f"loop, forwards of {CHUNK}": CHUNK,
    }
    torch.testing.assert_close(
        broadcast(), loop_scores(network, image, label, baseline, CHUNK), atol=1e-4, rtol=1e-4
    )
    count = 2**PLAYERS
    fast = seconds(broadcast, 3)
    print(f"Values v(x_T): n = {PLAYERS}, {SIZE} × {SIZE} pixels, small convolutional network")
    print(f"  {'broadcast, forwards of ' + str(CHUNK):28s} {count / fast:9,.0f} values/s")
    for name, batch in loops.items():
        plain = seconds(lambda size=batch: loop_scores(network, image, label, baseline, size), 3)
        print(
            f"  {name:28s} {count / plain:9,.0f} values/s, broadcast is {plain / fast:.1f} × faster"
        )
    with torch.no_grad():
        inputs = image.expand(CHUNK, -1, -1, -1).contiguous()
        forward = seconds(lambda: network(inputs), 3) * count / CHUNK
    print(
        f"  the forwards alone           {count / forward:9,.0f} values/s, the limit of any masking"
    )


def processor() -> str:
    """The processor's name where Linux tells it, else its architecture; and the number of cores."""
    name, description = platform.machine(), Path("/proc/cpuinfo")
    if description.exists():
        lines = description.read_text().splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-n", type=int, default=14, choices=(8, 10, 12, 14))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"{processor()}, torch {torch.__version__}, threads: {torch.get_num_threads()}\n")
    time_transforms(arguments.max_n)
    time_values()


if __name__ == "__main__":
    main()
