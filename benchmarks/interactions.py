"""Time the Möbius transform against a dense matrix, masked scores against a plain loop, and many players.

The last part fits Walsh coefficients to sampled masks of a small vision transformer, trained on the
handwritten digits inside scikit-learn, with its 49 or 196 patches as players; SPEX of shapiq gets as many
masks. R² is that over masks which neither saw.

Run `python benchmarks/interactions.py`; `--max-n 12` leaves out the matrix of n = 14, which needs 1 GB.
All rows of a table are measured in one run, on one thread unless `--threads` says otherwise.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.metrics.interactions.masking import grid_players, pixel_inputs
from headstart.metrics.interactions.sampled import Design, draw_masks, signs
from headstart.metrics.interactions.scores import log_odds, subset_scores
from headstart.metrics.interactions.subsets import low_order_terms
from headstart.metrics.interactions.transform import membership, mobius
from headstart.studies.knowledge.params import GridPlayers

SIZE, PLAYERS, GRID, CHUNK = 64, 12, 4, 256
DIGIT, TRAIN, EPOCHS, UNSEEN = 28, 1500, 12, 1000
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


def transformer(patch: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A small vision transformer trained on digits of 28 × 28 pixels, and test images with labels."""
    torch.manual_seed(0)
    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels / 16).float().view(-1, 1, 8, 8)
    images = F.interpolate(images, size=DIGIT, mode="bicubic")
    labels = torch.from_numpy(classes).long()
    network = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=DIGIT,
        in_chans=1,
        num_classes=10,
        patch_size=patch,
        embed_dim=48,
        depth=3,
        num_heads=4,
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAIN).split(64):
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return network.eval(), images[TRAIN:], labels[TRAIN:]


def explained(values: Tensor, predicted: Tensor) -> float:
    """R² of predicted scores of one image."""
    return float(1 - (values - predicted).square().sum() / values.var(correction=0) / len(values))


def by_spex(scored: Callable[[Tensor], Tensor], order: int, budget: int, unseen: Tensor) -> Tensor:
    """Scores of unseen masks by SPEX, from the sum of its interactions over the subsets of a mask."""

    def game(coalitions: np.ndarray) -> np.ndarray:
        return scored(torch.from_numpy(coalitions).bool()).numpy()

    from shapiq import SPEX

    found = SPEX(
        n=unseen.shape[1], index="FBII", random_state=0, degree_parameter=order
    ).approximate(budget, game)
    predicted = torch.zeros(len(unseen), dtype=torch.float64)
    for subset, value in found.dict_values.items():
        predicted += float(value) * unseen[:, list(subset)].all(1)
    return predicted


def sample_masks(patch: int, number: int, orders: tuple[int, ...], images: int) -> None:
    """One row for each order and image: R² over unseen masks and CPU seconds, ours and that of SPEX."""
    network, pictures, labels = transformer(patch)
    side = DIGIT // patch
    cells = [(row, column) for row in range(side) for column in range(side)]
    players = len(cells)
    inputs = pixel_inputs(
        pictures, grid_players(DIGIT, DIGIT, side, side, cells), pictures.mean().view(1, 1, 1)
    )
    with torch.no_grad():
        accuracy = float((network(pictures).argmax(1) == labels).float().mean())
    print(f"n = {players}: accuracy {accuracy:.1%}, {number:,} masks")
    generator = torch.Generator().manual_seed(0)
    masks, unseen = (draw_masks(players, k, generator) for k in (number, UNSEEN))
    for order, image in product(orders, range(images)):
        terms = low_order_terms(players, order)
        design = Design(masks, terms)
        chosen = torch.tensor([image])

        def scored(shown: Tensor, chosen: Tensor = chosen) -> Tensor:
            def of_image(_: Tensor, subsets: Tensor) -> Tensor:
                return inputs(chosen, subsets)

            return subset_scores(network, of_image, labels[chosen], players, CHUNK, masks=shown)[0]

        known, true = scored(masks), scored(unseen).double()
        start = time.process_time()
        fit = design.fit(known[None])
        middle = time.process_time()
        predicted = fit.coefficients[0] @ signs(terms[fit.terms], unseen).T
        line = (
            f"  order {order}, image {image}: {len(fit.terms) - 1} of {len(terms) - 1:,} terms, R² "
        )
        line += f"{float(fit.r2[0]):.3f} held out, {explained(true, predicted):.3f} unseen, "
        line += f"{middle - start:.2f} CPU seconds"
        try:
            theirs = by_spex(scored, order, number, unseen)
            line += f"; SPEX {explained(true, theirs):.3f}, {time.process_time() - middle:.1f} CPU seconds with its scoring"
        except (ValueError, ImportError) as error:
            line += f"; SPEX: {error}"
        print(line, flush=True)


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
    parser.add_argument("--images", type=int, default=3, help="with many players")
    parser.add_argument("--only-many", action="store_true", help="many players alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"{processor()}, torch {torch.__version__}, threads: {torch.get_num_threads()}\n")
    if not arguments.only_many:
        time_transforms(arguments.max_n)
        time_values()
    print("\nSampled masks of a small vision transformer")
    for patch, number, orders in ((4, 2500, (1, 2, 3)), (2, 2500, (1, 2))):
        sample_masks(patch, number, orders, arguments.images)


if __name__ == "__main__":
    main()
