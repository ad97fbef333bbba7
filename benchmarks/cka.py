"""Time CKA against implementations that work pair by pair on Gram matrices.

Both baselines form the two Gram matrices and the three debiased HSICs anew for every pair of
layers, as public packages do: "traces" takes each HSIC as the trace of an n × n matrix product,
"sums" as an elementwise product. They run in the precision given by `--dtype`; ours sums in float64
always.

    python benchmarks/cka.py [--images 2000] [--features 192] [--layers 12] [--corner 3] [--threads 1]

Prints seconds, ratios and how far the results differ at most. A baseline computes a corner of the
grid, each cell of which is compared with ours; its time for the whole grid is that of the corner
times the ratio of their numbers of pairs, which all cost the same. `--corner 12` computes all.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from headstart.metrics.representations.similarity import cka_grid, linear_grams


def ours_of(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
    """Return our grid: every Gram matrix once, then one matrix product, as the study computes it."""
    return cka_grid(linear_grams(xs), linear_grams(ys))


def trace_hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Return Song's estimator with a matrix product for the trace, as commonly written."""
    n, product = len(k), k @ l
    result = product.trace() + k.sum() * l.sum() / ((n - 1) * (n - 2))
    return (result - product.sum() * 2 / (n - 2)) / (n * (n - 3))


def sum_hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Return the same without any matrix product."""
    n, rows_k, rows_l = len(k), k.sum(1), l.sum(1)
    result = (k * l).sum() + rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    return (result - (rows_k * rows_l).sum() * 2 / (n - 2)) / (n * (n - 3))


def pairwise_cka(hsic: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return one pair: two Grams, three HSICs."""
    k, l = ((z @ z.T).fill_diagonal_(0) for z in (x, y))  # noqa: E741
    return hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt()


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the best time of several runs, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--features", type=int, default=192)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--corner", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    common = torch.randn(arguments.images, arguments.features)
    layers = [
        (common + torch.randn_like(common)).to(getattr(torch, arguments.dtype))
        for _ in range(2 * arguments.layers)
    ]
    xs, ys = layers[: arguments.layers], layers[arguments.layers :]

    print(
        f"images {arguments.images}, features {arguments.features}, layers {arguments.layers}, "
        f"baselines {arguments.dtype}, torch {torch.__version__}, threads {torch.get_num_threads()}"
    )
    pair = seconds(lambda: ours_of(xs[:1], ys[:1]), 5)
    grid = seconds(lambda: ours_of(xs, ys), 3)
    print(f"ours: one pair {pair:.4f} s; ", end="")
    print(f"{arguments.layers} x {arguments.layers} grid {grid:.3f} s")
    ours, corner = ours_of(xs, ys), min(arguments.corner, arguments.layers)
    for name, hsic in (("traces", trace_hsic), ("sums", sum_hsic)):
        compare(name, partial(pairwise_cka, hsic), xs[:corner], ys[:corner], ours, pair, grid)


def compare(
    name: str,
    baseline: Callable[[Tensor, Tensor], Tensor],
    xs: list[Tensor],
    ys: list[Tensor],
    ours: Tensor,
    pair: float,
    grid: float,
) -> None:
    """Print one baseline's times as multiples of ours, and the largest difference of the cells.

    Raises:
        SystemExit: a cell differs by more than rounding.
    """
    baseline(xs[0], ys[0])  # not counted
    start = time.perf_counter()
    theirs = torch.stack([torch.stack([baseline(x, y) for y in ys]) for x in xs])
    each = (time.perf_counter() - start) / theirs.numel()
    whole = each * ours.numel()
    difference = float((theirs - ours[: len(xs), : len(ys)]).abs().max())
    print(
        f"pairwise {name}: one pair {each:.4f} s, {each / pair:.1f} x ours; "
        f"grid {whole:.1f} s, {whole / grid:.0f} x ours; "
        f"largest difference in {theirs.numel()} cells {difference:.0e}"
    )
    if not difference < 1e-3:
        raise SystemExit(f"{name}: cells differ by {difference:.2g}, more than rounding")


if __name__ == "__main__":
    main()
