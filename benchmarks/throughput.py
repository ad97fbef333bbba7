"""Images per second of batches on the device, against a DataLoader with PIL transforms.

Both feed the same network with the same 10,000 random images of 32 × 32, shifted by up to 4 pixels,
mirrored and normalised. Run from the repository's root:

    python benchmarks/throughput.py

The first epoch of each feed warms up; the fastest of the others counts. `feed` is the input alone,
`train` a whole epoch of training. One thread computes, as in every job of the study; DataLoader
workers have the other cores. Measured on two idle cores: the feed is
40 x as fast as 0 workers and 25 x as fast as 2 workers; an epoch of the light network 6.9 and 3.5 x, of
ConvNet 1.9 and 1.2 x. The heavier the network, the less the feed matters.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from headstart import params
from headstart.networks.convnet import ConvNet
from headstart.tasks.batches import Batch, Normalization, TrainBatches
from headstart.tasks.task import TrainImages

CLASSES = 10
STATISTICS = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
Feed = Callable[[int], Iterable[Batch]]


class PilImages(Dataset):
    """The usual way: each image becomes a PIL image, is transformed, and becomes a tensor."""

    def __init__(self, images: TrainImages) -> None:
        self.pixels = images.images.permute(0, 2, 3, 1).numpy()
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4, padding_mode="edge"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(STATISTICS.mean, STATISTICS.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def light_network(width: int) -> nn.Module:
    """Three convolutions with stride 2, batch normalisation, and a linear head."""
    layers: list[nn.Module] = []
    for channels, wider in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [
            nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(inplace=True),
        ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, CLASSES)]
    return nn.Sequential(*layers, *head)


def random_images(number: int) -> TrainImages:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, CLASSES, number)
    names = tuple(str(label) for label in range(CLASSES))
    return TrainImages(torch.from_numpy(pixels), torch.from_numpy(labels), names)


def feeds(images: TrainImages, batch_size: int, device: str) -> dict[str, Feed]:
    """Return what makes an epoch's batches, by name."""
    augmentation = params.Augmentation(shift=4, flip=True)
    resident = TrainBatches(images, STATISTICS, batch_size, augmentation, device, seed=0)

    def loader(workers: int) -> Feed:
        made = DataLoader(
            PilImages(images),
            batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

        def epoch(_: int) -> Iterator[Batch]:
            return ((x.to(device), y.to(device)) for x, y in made)

        return epoch

    return {
        "headstart": resident.epoch,
        "DataLoader, 0 workers": loader(0),
        "DataLoader, 2 workers": loader(2),
    }


def measure(use: Callable[[Feed], None], feed: Feed, repeats: int, device: str) -> float:
    """Return the seconds of the fastest epoch after a first one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        use(feed)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def consume(feed: Feed) -> None:
    for _ in feed(0):
        pass


def training(network: nn.Module, device: str) -> Callable[[Feed], None]:
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True)

    def train(feed: Feed) -> None:
        for images, labels in feed(0):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()

    return train


def report(name: str, seconds: dict[str, float], number: int) -> None:
    ours = seconds["headstart"]
    for feed, each in seconds.items():
        ratio = "" if each is ours else f"   headstart is {each / ours:5.1f} x as fast"
        print(f"{name:22} {feed:22} {each:7.2f} s {number / each:10,.0f} images/s{ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = options.device
    where = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(
        f"torch {torch.__version__}, {where}, {os.cpu_count()} cores, {options.threads} threads, "
        f"batches of {options.batch_size}, {options.images:,} images of 32 x 32"
    )
    made = feeds(random_images(options.images), options.batch_size, device)
    uses = {
        "feed": consume,
        f"train light, width {options.width}": training(light_network(options.width), device),
        f"train ConvNet, width {options.width}": training(
            nn.Sequential(ConvNet(3, options.width), nn.Linear(4 * options.width, CLASSES)), device
        ),
    }
    for name, use in uses.items():
        seconds = {each: measure(use, feed, options.repeats, device) for each, feed in made.items()}
        report(name, seconds, options.images)


if __name__ == "__main__":
    main()
