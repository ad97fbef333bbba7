"""Speed of what is measured on networks: masked forwards, inversions, CKA; precision; waiting."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measuring import DEVICE, GPU, Report, seconds, sized
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from training import CONVNET, RESNET, OurLoop, settle

from headstart.metrics.interactions.masking import grid_players, pixel_inputs, zero_baseline
from headstart.metrics.interactions.scores import subset_scores
from headstart.metrics.passes import full_precision
from headstart.metrics.representations.inversion import InversionOptimizer, invert
from headstart.metrics.representations.similarity import cka_grid, linear_grams
from headstart.networks.build import build
from headstart.networks.network import Network, number_of_blocks, truncated
from headstart.params.models import Timm

TF32_ERROR = 1e-5
"""Relative errors of float32 products lie far below, those of TF32 far above."""


def precision(report: Report) -> None:
    """Check that TF32 is off where the study promises float32, and that the check would see it."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator) for _ in range(2))
    # Wide enough that cuDNN takes tensor cores where it may.
    images = torch.randn(16, sized(256, 32), 16, 16, generator=generator)
    images = images.to(memory_format=torch.channels_last)
    kernels = torch.randn(sized(256, 64), sized(256, 32), 3, 3, generator=generator)

    def error(call: Callable[..., Tensor], *tensors: Tensor) -> float:
        exact = call(*(each.double() for each in tensors))
        found = call(*(each.to(DEVICE) for each in tensors)).cpu().double()
        return float((found - exact).norm() / exact.norm())

    for name, call, tensors in (
        ("matrix product", torch.matmul, (a, b)),
        ("convolution", F.conv2d, (images, kernels)),
    ):
        settle(free=False)
        found = error(call, *tensors)
        report.add(f"{name} as jobs run it", found, "relative error", passed=found < TF32_ERROR)
        if GPU:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            found = error(call, *tensors)
            report.add(f"{name} with TF32", found, "relative error", passed=found > TF32_ERROR)
            with full_precision(DEVICE):
                found = error(call, *tensors)
            report.add(
                f"{name} with TF32, inside a measurement",
                found,
                "relative error",
                passed=found < TF32_ERROR,
            )


def values(report: Report) -> None:
    """Measure v(x_T) of masked images, against bare forward passes of as many images."""
    settle(free=False)
    cells = tuple((row, column) for row in range(4) for column in range(4))
    for name, case, players, images, chunks in (
        ("ConvNet 16 × 16", CONVNET, sized(10, 4), sized(64, 2), sized((128, 8192), (16,))),
        ("ResNet-18 32 × 32", RESNET, sized(10, 2), sized(32, 2), sized((128, 4096), (8,))),
    ):
        network = case.network().eval().requires_grad_(False)
        pixels = torch.randn(images, case.channels, case.size, case.size, device=DEVICE)
        labels = torch.arange(images, device=DEVICE) % case.classes
        grid = grid_players(case.size, case.size, 4, 4, cells[:players])
        masked = pixel_inputs(pixels, grid, zero_baseline(pixels))
        scores = images * 2**players
        for chunk in chunks:
            with report.attempt(f"{name}, chunks of {chunk}"):
                taken = seconds(
                    lambda m=masked, c=chunk, n=network, y=labels, p=players: subset_scores(
                        n, m, y, p, c
                    )
                )
                inputs = torch.randn(chunk, *pixels.shape[1:], device=DEVICE)
                bare = forward_seconds(network, inputs) / chunk
                note = f"{bare * scores / taken:.2f} of the bare forwards' speed"
                report.add(f"{name}, chunks of {chunk}", scores / taken, "values/s", note)
        with report.attempt(f"{name} against the CPU"):
            here = subset_scores(network, masked, labels, players, chunks[-1]).cpu()[:2]
            few = pixel_inputs(pixels[:2].cpu(), grid, zero_baseline(pixels[:2].cpu()))
            there = subset_scores(network.cpu(), few, labels[:2].cpu(), players, 256)
            worst = float((here - there).abs().max())
            limit = 1e-4 * (1 + float(there.abs().max()))
            report.add(
                f"{name}: largest difference to the CPU", worst, "nats", passed=worst < limit
            )


def forward_seconds(network: Network, inputs: Tensor) -> float:
    """Return the time of one plain forward pass in full precision."""
    with torch.no_grad(), full_precision(DEVICE):
        return seconds(lambda: network(inputs))


def inversions(report: Report) -> None:
    """Measure inversion of ViT-B/32 at 224 × 224, with random weights."""
    settle(free=False)
    small = Timm(
        kind="timm",
        name="vit_tiny_patch16_224",
        kwargs={"patch_size": 8, "embed_dim": 16, "depth": 4, "num_heads": 4},
    )
    model = sized(Timm(kind="timm", name="vit_base_patch32_224"), small)
    side, steps = sized(224, 32), sized(20, 3)
    backbone = build(model, 3, side, 2, seed=0).to(DEVICE).eval().requires_grad_(False).backbone
    blocks = number_of_blocks(backbone)
    optimizer = InversionOptimizer(steps=steps, step_size=0.1, method="adam", decay=True)
    for layer, images in (
        (blocks, sized(128, 4)),
        (blocks, sized(20, 2)),
        (blocks // 2, sized(128, 4)),
    ):
        name = f"block {layer} of {blocks}, {images} images"
        with report.attempt(name):
            represent = truncated(backbone, layer - 1)
            pixels = torch.rand(images, 3, side, side, device=DEVICE)
            targets = represent(pixels)
            seeds = torch.randn_like(pixels)
            taken = seconds(
                lambda r=represent, t=targets, s=seeds: invert(r, t, s, optimizer), warm_ups=1
            )
            note = f"{steps * images / taken:,.0f} image steps/s"
            report.add(name, steps / taken, "steps/s", note)


def cka(report: Report) -> None:
    """Measure a grid of layers against layers, in float64 as the study computes it."""
    settle(free=False)
    layers = 12
    images = sized(2000, 50)
    for width in sized((768, 50 * 768), (64,)):
        with report.attempt(f"{layers} layers of width {width}"):
            features = [torch.randn(images, width, device=DEVICE) for _ in range(layers)]

            def pairs(features: list[Tensor] = features) -> Tensor:
                grams = linear_grams(features)
                return cka_grid(grams, grams)

            diagonal = float((pairs().diagonal() - 1).abs().max())
            taken = seconds(pairs)
            note = f"{images} images, the diagonal is 1 up to {diagonal:.0e}"
            name = f"{layers} × {layers} layers of width {width}"
            report.add(name, layers**2 / taken, "pairs/s", note, passed=diagonal < 1e-9)


def waiting(report: Report) -> None:
    """Count how often the host waits for the device in an epoch, of few and of many steps."""
    for name, precision, compiling in (
        ("plain", "bfloat16" if GPU else "float32", ""),
        ("compile", "bfloat16" if GPU else "float32", "default"),
    ):
        with report.attempt(name):
            counts = {}
            for batches in (2, 6):
                loop = OurLoop(CONVNET, precision, compiling, False, batches)
                loop.epoch()
                counts[batches] = waits(loop.epoch)
            for kind in sorted({*counts[2], *counts[6]}):
                a_step = (counts[6][kind] - counts[2][kind]) / 4
                text = f"{counts[2][kind]} in 2 steps, {counts[6][kind]} in 6"
                report.add(f"{name}: {kind} a step", a_step, "waits", text, passed=a_step == 0)
            counted = waits(lambda: [torch.ones(2, device=DEVICE).sum().item() for _ in range(3)])
            least = min(counted.values())
            report.add(f"{name}: the count sees 3 of 3 planted", least, "waits", passed=least == 3)


class _Reads(TorchDispatchMode):
    """Counts values that the host reads."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.number += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def waits(call: Callable[[], object]) -> Counter[str]:
    """Return how often a call reads a value; on a GPU also how often it waits, by torch's own count."""
    if not GPU:
        with _Reads() as reads:
            call()
        return Counter(reads=reads.number)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    messages = [str(each.message) for each in caught]
    return Counter(
        synchronisations=sum("called a synchronizing" in message for message in messages)
    )
