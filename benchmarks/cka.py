"""Time the CKA grid of two networks against two public ways of computing it.

"pytorch-cka" makes every Gram once and each HSIC from sums over all entries; `cka_from_features` of that
package runs where it is installed (`pip install pytorch-cka`), the same operations otherwise. "pairwise" makes
both Grams and three traces of matrix products anew for every pair of layers, as torch_cka does: it computes
`--corner` layers a side, scaled to the whole. All work on float32 features of one thread.

    python benchmarks/cka.py [--images 100 500 2000 5000] [--features 64 768 4000 40000] [--layers 12]

Prints seconds (CPU time, best of `--repeats`, the methods in turn), ratios and the largest difference. Layers
are halved until the features of both networks take at most `--gigabytes`.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from headstart.metrics.representations.layer_cka import costs, layer_cka

Layers = Sequence[Tensor]


def by_sums(xs: Layers, ys: Layers) -> Tensor:
    """Return the grid as pytorch-cka 1.1 computes it: Song's estimator on whole Grams."""
    grams = [torch.stack([f @ f.T for f in layers]) for layers in (xs, ys)]
    n = len(xs[0])
    diagonals = [g.diagonal(dim1=1, dim2=2) for g in grams]
    columns = [g.sum(1) - d for g, d in zip(grams, diagonals, strict=True)]
    totals = [g.sum((1, 2)) - d.sum(1) for g, d in zip(grams, diagonals, strict=True)]
    cross = torch.einsum("aij,bij->ab", *grams) - torch.einsum("ai,bi->ab", *diagonals)
    cross += torch.outer(*totals) / ((n - 1) * (n - 2)) - 2 / (n - 2) * columns[0] @ columns[1].T
    own = [
        (g * g).sum((1, 2))
        - (d * d).sum(1)
        + t * t / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (c * c).sum(1)
        for g, d, c, t in zip(grams, diagonals, columns, totals, strict=True)
    ]
    return cross / torch.outer(*own).sqrt()


def by_traces(xs: Layers, ys: Layers) -> Tensor:
    """Return the grid pair by pair."""

    def hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
        n, found = len(k), k @ l
        result = found.trace() + k.sum() * l.sum() / ((n - 1) * (n - 2))
        return result - found.sum() * 2 / (n - 2)

    def cka(x: Tensor, y: Tensor) -> Tensor:
        k, l = ((z @ z.T).fill_diagonal_(0) for z in (x, y))  # noqa: E741
        return hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt()

    return torch.stack([torch.stack([cka(x, y) for y in ys]) for x in xs])


def seconds(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the best CPU time of each, in turn, so that other work meets all of them alike."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats + 1):
        for index, run in enumerate(runs):
            start = time.thread_time()
            run()
            best[index] = min(best[index], time.thread_time() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100, 500, 2000, 5000])
    parser.add_argument("--features", type=int, nargs="+", default=[64, 768, 4000, 40000])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--corner", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=6.4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        from cka import cka_from_features as theirs

        name = "pytorch-cka"
    except ImportError:
        theirs, name = by_sums, "pytorch-cka's operations"
    print(f"torch {torch.__version__}, 1 thread, float32, ours against {name}")
    for images, features in product(arguments.images, arguments.features):
        layers = arguments.layers
        while layers > 1 and 8e-9 * images * features * layers > arguments.gigabytes:
            layers //= 2
        compare(theirs, images, features, layers, arguments.corner, arguments.repeats)


def compare(
    theirs: Callable[[Layers, Layers], Tensor],
    images: int,
    features: int,
    layers: int,
    corner: int,
    repeats: int,
) -> None:
    """Print the times of one size.

    Raises:
        SystemExit: a cell differs by more than rounding in float32.
    """
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(images, features, generator=generator)
    made = [
        torch.randn(images, features, generator=generator).add_(common) for _ in range(2 * layers)
    ]
    xs, ys = made[:layers], made[layers:]
    found: dict[str, Tensor] = {}
    runs = [
        lambda: found.update(ours=layer_cka(xs, ys)),
        lambda: found.update(theirs=theirs(xs, ys)),
        *[lambda: by_traces(xs[:corner], ys[:corner])] * bool(corner),
    ]
    grams, by_features = costs(images, [features] * layers, [features] * layers)
    times = seconds(runs, 1 if min(grams, by_features) > 1e11 else repeats)
    difference = float((found["ours"] - found["theirs"]).abs().max())
    text = (
        f"n {images:5d}, d {features:5d}, {layers:2d} x {layers:2d}, by "
        f"{'Grams' if grams <= by_features else 'features'}: {times[0]:.4f} s, theirs {times[1]:.4f} s "
        f"({times[1] / times[0]:.2f} x ours), differ by {difference:.0e}"
    )
    if corner:
        whole = times[2] * (layers / corner) ** 2
        text += f"; pairwise {whole:.3f} s ({whole / times[0]:.0f} x)"
    print(text, flush=True)
    if not difference < 2e-3:
        raise SystemExit(f"cells differ by {difference:.2g}, more than rounding")


if __name__ == "__main__":
    main()
