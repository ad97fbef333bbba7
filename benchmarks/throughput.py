"""Images per second in training, against a plain DataLoader with PIL transforms.

Both train the same network on the same 10,000 random images of 32 × 32, shifted by up to 4 pixels,
mirrored and normalised; `--augmentation full` adds rotation and colour jitter. Ours is the study's own
loop with batches on the device and `channels_last`, as in the presets; the other is the usual loop of
PyTorch's tutorials. Run from the repository's root:

    python benchmarks/throughput.py

The first epoch of each way warms up; the fastest of the others counts. The study runs one job of one
thread on each core, so `2 jobs` is what its machine does: two processes train at the same time, and
their images count together. The heavier the network, the less its feed matters. Run it on an idle
machine: whatever else computes slows the ways of two processes or threads more than the others.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from headstart.networks.convnet import ConvNet
from headstart.networks.network import Network
from headstart.params.recipe import Augmentation, Optimizer, Training
from headstart.tasks.batches import Normalization, TrainBatches
from headstart.tasks.task import TrainImages
from headstart.training.optimizers import Updates

CLASSES = 10
STATISTICS = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
SHIFT, ROTATION, JITTER = 4, 15, 0.4
RATE, MOMENTUM = 0.01, 0.9


@dataclass(frozen=True)
class Way:
    """How many processes train, on how many threads each, fed by how many workers (None: by us)."""

    jobs: int
    threads: int
    workers: int | None = None

    def __str__(self) -> str:
        feed = "headstart" if self.workers is None else f"DataLoader with {self.workers} workers"
        return f"jobs {self.jobs}, threads of each {self.threads}, {feed}"


# Each with all ways to use two cores; the plain loop's best one is among them.
WAYS = (
    *(Way(1, 1, workers) for workers in (None, 0, 2)),
    *(Way(1, 2, workers) for workers in (None, 0, 2)),
    *(Way(2, 1, workers) for workers in (None, 0, 1)),
)


class PilImages(Dataset):
    """The usual way: each image becomes a PIL image, is transformed, and becomes a tensor."""

    def __init__(self, images: TrainImages, full: bool) -> None:
        self.pixels = images.images.permute(0, 2, 3, 1).numpy()
        self.labels = images.labels.tolist()
        more = [transforms.RandomRotation(ROTATION), transforms.ColorJitter(JITTER, JITTER, JITTER)]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=SHIFT, padding_mode="edge"),
                transforms.RandomHorizontalFlip(),
                *(more if full else []),
                transforms.ToTensor(),
                transforms.Normalize(STATISTICS.mean, STATISTICS.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def light_backbone(width: int) -> nn.Module:
    """Three convolutions with stride 2 and batch normalisation."""
    layers: list[nn.Module] = []
    for channels, wider in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [
            nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def build(name: str, width: int) -> Network:
    backbone = light_backbone(width) if name == "light" else ConvNet(3, width)
    return Network(backbone, nn.Linear(4 * width, CLASSES))


def random_images(number: int) -> TrainImages:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, CLASSES, number)
    names = tuple(str(label) for label in range(CLASSES))
    return TrainImages(torch.from_numpy(pixels), torch.from_numpy(labels), names)


def our_epoch(network: Network, images: TrainImages, options: Any) -> Callable[[int], object]:
    """Return the study's own epoch."""
    more = {"rotation": ROTATION, "colour_jitter": JITTER} if options.full else {}
    augmentation = Augmentation(shift=SHIFT, flip=True, **more)
    batch = options.batch_size
    batches = TrainBatches(images, STATISTICS, batch, augmentation, options.device, 0, True)
    optimizer = Optimizer(momentum=MOMENTUM)
    training = Training(epochs=100, optimizer=optimizer, channels_last=True)
    return Updates(network, batches, training, RATE, seed=0).epoch


def plain_epoch(
    network: Network, images: TrainImages, options: Any, workers: int
) -> Callable[[int], object]:
    """Return the usual loop over a DataLoader."""
    data = PilImages(images, options.full)
    keep = workers > 0
    loader = DataLoader(
        data, options.batch_size, shuffle=True, num_workers=workers, persistent_workers=keep
    )
    optimizer = torch.optim.SGD(network.parameters(), RATE, momentum=MOMENTUM, nesterov=True)
    network.train()

    def epoch(_: int) -> None:
        for inputs, labels in loader:
            optimizer.zero_grad()
            logits = network(inputs.to(options.device))
            F.cross_entropy(logits, labels.to(options.device)).backward()
            optimizer.step()

    return epoch


def job(name: str, way: Way, options: Any, barrier: Barrier, seconds: Any) -> None:
    """Train in one process; all processes begin an epoch together and wait for each other's end."""
    torch.set_num_threads(way.threads)
    network, images = build(name, options.width).to(options.device), random_images(options.images)
    if way.workers is None:
        epoch = our_epoch(network, images, options)
    else:
        epoch = plain_epoch(network, images, options, way.workers)
    for number in range(options.repeats + 1):
        barrier.wait()
        start = time.perf_counter()
        epoch(number)
        if options.device == "cuda":
            torch.cuda.synchronize()
        barrier.wait()
        seconds.put((number, time.perf_counter() - start))


def measure(name: str, way: Way, options: Any) -> float:
    """Return the images per second of all jobs together, in their fastest epoch after the first."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(way.jobs), context.SimpleQueue()
    arguments = (name, way, options, barrier, seconds)
    jobs = [context.Process(target=job, args=arguments) for _ in range(way.jobs)]
    for each in jobs:
        each.start()
    taken = [seconds.get() for _ in range(way.jobs * (options.repeats + 1))]
    for each in jobs:
        each.join()
    slowest = [max(s for n, s in taken if n == number) for number in range(1, options.repeats + 1)]
    return way.jobs * options.images / min(slowest)


def report(name: str, speeds: dict[Way, float]) -> None:
    """Print each way, and how much faster ours is with as many jobs and threads."""
    print(f"\n{name}")
    for way, speed in speeds.items():
        ours = speeds[Way(way.jobs, way.threads)]
        ratio = "" if way.workers is None else f"   headstart is {ours / speed:5.1f} x as fast"
        print(f"  {way!s:54} {speed:8,.0f} images/s{ratio}", flush=True)
    plain = max(speed for way, speed in speeds.items() if way.workers is not None)
    best = max(speed for way, speed in speeds.items() if way.workers is None)
    print(f"  the best of ours is {best / plain:.1f} x as fast as the best DataLoader")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--augmentation", default="usual", choices=["usual", "full"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    options.full = options.augmentation == "full"
    where = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
    print(
        f"torch {torch.__version__}, {where}, {os.cpu_count()} cores, {options.augmentation} "
        f"augmentation, batches of {options.batch_size}, {options.images:,} images of 32 x 32"
    )
    for name in ("light", "ConvNet"):
        speeds = {way: measure(name, way, options) for way in WAYS}
        report(f"{name}, width {options.width}", speeds)


if __name__ == "__main__":
    main()
