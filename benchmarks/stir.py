"""Time a STIR grid against one that inverts two networks anew for every cell.

X′ depends on the reference network and layer alone, and needs no layer after it. So 2 L inversions
with a truncated forward pass serve the L × L grids in both directions, where the usual script runs
2 L² inversions with whole forward passes. One step of each kind is measured, and a grid's time is
steps × inversions × seconds per step, plus the forward passes and Grams that score it.

    python benchmarks/stir.py [--images 16] [--steps 500] [--threads 1]

The network is ViT-Tiny with patches of 4 on 32 × 32 images (12 blocks, random weights; speed does
not depend on them).
"""

import argparse
import time
from dataclasses import replace

import timm
import torch

from headstart.metrics.representations.inversion import PAPER, Represent, invert
from headstart.metrics.representations.stir import stir_grid, target_grams
from headstart.networks.network import every_block, truncated

LAYERS = 12


def step_seconds(represent: Represent, images: torch.Tensor, steps: int = 3) -> float:
    """Return seconds per gradient step: the difference between a longer and a shorter inversion."""
    targets = represent(images)

    def run(count: int) -> float:
        start = time.perf_counter()
        invert(represent, targets, torch.rand_like(images), replace(PAPER, steps=count))
        return time.perf_counter() - start

    run(1)
    return min((run(steps + 1) - run(1)) / steps for _ in range(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=4, num_classes=10
    ).eval().requires_grad_(False)  # fmt: skip
    images = torch.rand(arguments.images, 3, 32, 32)

    whole = every_block(network)
    full_step = [step_seconds(lambda x: whole(x)[-1], images) for _ in range(2)]
    steps = [step_seconds(truncated(network, block), images) for block in range(LAYERS)]
    start = time.perf_counter()
    stir_grid(target_grams(whole, images[None], images.expand(1, LAYERS, *images.shape)))
    scoring = 4 * (time.perf_counter() - start)  # each network on the X′ of both

    per_cell = 2 * LAYERS**2 * arguments.steps * min(full_step)
    shared = 2 * arguments.steps * sum(steps) + scoring
    print(
        f"images {arguments.images}, steps {arguments.steps}, layers {LAYERS}, "
        f"torch {torch.__version__}, threads {torch.get_num_threads()}"
    )
    print(
        f"seconds per step: whole network {min(full_step):.3f}, after block 1 {steps[0]:.3f}, "
        f"after block {LAYERS} {steps[-1]:.3f}, mean {sum(steps) / LAYERS:.3f}"
    )
    print(
        f"{LAYERS} x {LAYERS} grids: inverting for every cell {per_cell:.0f} s, once per layer "
        f"{shared:.0f} s (of which scoring {scoring:.1f} s), ratio {per_cell / shared:.1f}"
    )


if __name__ == "__main__":
    main()
