"""K copies of the default ConvNet as one program: how fast a grid of runs could train.

Norms of K networks are one norm over all their channels; convolutions are grouped, or patches times a
matrix for each network. Both steps are whole: forward, backward and SGD, in float32 and in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from measuring import DEVICE, GPU, Report, captured, seconds, sized
from torch import Tensor
from training import CONVNET, MOMENTUM, RATE, settle

from headstart.networks.network import Network

WIDTHS = (8, 8, 16, 16, 32, 32)
Convolve = Callable[[Tensor, Tensor], Tensor]
STEPS = 30 * 6
"""Of a fine-tuning run of the default study: 30 epochs of 165 images in batches of 32."""


def grid(report: Report) -> None:
    """Measure K = 1, 8, 64 and 512 networks."""
    for number in sized((1, 8, 64, 512), (1, 4)):
        for name, convolve, low in (
            ("grouped convolutions", grouped, False),
            ("patches times matrices", patches, False),
            ("patches times matrices, bfloat16", patches, True),
        ):
            if low and not GPU:
                continue
            with report.attempt(f"K = {number}, {name}"):
                settle(free=True)
                step = Stack(number, convolve, low).step
                taken = seconds(captured(step), at_least=0.3)
                note = f"{1e3 * taken:.3f} ms a step, {number / taken / STEPS:.1f} runs/s"
                images = number * CONVNET.batch / taken
                report.add(f"K = {number}, {name}", images, "images/s", note)


def check(report: Report) -> None:
    """Compare the logits of a stack with those of its networks one by one, in training mode."""
    networks = [CONVNET.network() for _ in range(3)]
    for each, factor in zip(networks, (1.0, 0.5, 2.0), strict=True):
        for parameter in each.parameters():
            parameter.data.mul_(factor)
    settle(free=False)
    inputs = torch.rand(3, CONVNET.batch, 1, CONVNET.size, CONVNET.size, device=DEVICE)
    with torch.no_grad():
        outputs = [each.train()(x) for each, x in zip(networks, inputs, strict=True)]
    expected = torch.stack(outputs)
    for name, convolve in (("grouped convolutions", grouped), ("patches times matrices", patches)):
        found = logits(stacked(networks), inputs, convolve)
        error = float((found - expected).norm() / expected.norm())
        report.add(f"{name}: logits against one by one", error, "relative", passed=error < 1e-5)


class Stack:
    """K networks, their inputs and their updates."""

    def __init__(self, number: int, convolve: Convolve, low: bool) -> None:
        self.convolve, self.low = convolve, low
        self.weights = [
            weight.repeat(number, *[1] * (weight.ndim - 1)).requires_grad_()
            for weight in stacked([CONVNET.network()])
        ]
        size = CONVNET.size
        self.inputs = torch.rand(number, CONVNET.batch, 1, size, size, device=DEVICE)
        self.targets = torch.randint(CONVNET.classes, (number * CONVNET.batch,), device=DEVICE)
        options = {"momentum": MOMENTUM, "nesterov": True, "weight_decay": 5e-4}
        self.optimizer = torch.optim.SGD(self.weights, RATE, fused=GPU, **options)

    def step(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.low):
            found = logits(self.weights, self.inputs, self.convolve)
        loss = F.cross_entropy(found.float().flatten(0, 1), self.targets, reduction="sum")
        (loss / CONVNET.batch).backward()
        self.optimizer.step()


def stacked(networks: list[Network]) -> list[Tensor]:
    """Return [K, ...] of every parameter, in the order of the modules."""
    rows = [[parameter.detach() for parameter in each.parameters()] for each in networks]
    return [torch.stack(same) for same in zip(*rows, strict=True)]


def logits(weights: list[Tensor], inputs: Tensor, convolve: Convolve) -> Tensor:
    """Return logits [K, b, classes] of inputs [K, b, c, h, w] in training mode."""
    maps = inputs
    for layer in range(len(WIDTHS)):
        kernel, scale, shift = weights[3 * layer : 3 * layer + 3]
        maps = F.relu(normalized(convolve(maps, kernel), scale, shift))
        if layer in (1, 3):
            maps = F.max_pool2d(maps.flatten(0, 1), 2).unflatten(0, maps.shape[:2])
    head, bias = weights[-2:]
    return torch.baddbmm(bias[:, None], maps.mean((3, 4)).to(head.dtype), head.mT)


def normalized(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return maps [K, b, c, h, w] with the mean and variance of each network's batch taken out."""
    networks, batch, channels = maps.shape[:3]
    wide = maps.transpose(0, 1).reshape(batch, networks * channels, *maps.shape[3:])
    wide = F.batch_norm(wide, None, None, scale.flatten(), shift.flatten(), training=True)
    return wide.unflatten(1, (networks, channels)).transpose(0, 1)


def grouped(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve as one grouped convolution."""
    networks, batch, channels = maps.shape[:3]
    wide = maps.transpose(0, 1).reshape(batch, networks * channels, *maps.shape[3:])
    wide = wide.contiguous(memory_format=torch.channels_last)
    wide = F.conv2d(wide, kernel.flatten(0, 1), padding=1, groups=networks)
    return wide.unflatten(1, (networks, -1)).transpose(0, 1)


def patches(maps: Tensor, kernel: Tensor) -> Tensor:
    """Convolve as a product of all 3 × 3 patches with a matrix for each network."""
    networks, batch, channels, height, width = maps.shape
    padded = F.pad(maps, [1] * 4)
    windows = padded.unfold(3, 3, 1).unfold(4, 3, 1)  # [K, b, c, h, w, 3, 3]
    rows = windows.permute(0, 1, 3, 4, 2, 5, 6).reshape(networks, -1, channels * 9)
    found = torch.bmm(rows, kernel.flatten(2).mT)
    return found.view(networks, batch, height, width, -1).permute(0, 1, 4, 2, 3)
