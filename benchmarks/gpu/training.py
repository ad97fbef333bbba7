"""Images per second in training: the project's own loop, and a tight one written for one network alone.

The tight loop does what fast CIFAR-10 scripts do (cifar10-airbench, hlb-CIFAR10): images stay on the GPU
in bfloat16 and channels last, an epoch is augmented at once, weights are bfloat16 apart from those of
norms, the optimiser is fused, nothing is logged or seeded, and kernels may be of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from measuring import DEVICE, GPU, ONLY_COMPILE, Report, captured, seconds, sized
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.networks.build import build
from headstart.networks.network import Network
from headstart.params.models import ConvNet, Model, Timm, WideResNet
from headstart.params.recipe import Augmentation, Optimizer, Training
from headstart.tasks.batches import Normalization, TrainBatches
from headstart.tasks.task import TrainImages
from headstart.training.device import compiled, reproducible
from headstart.training.optimizers import Updates

RATE, MOMENTUM, DECAY, SHIFT = 0.02, 0.9, 5e-4, 4


@dataclass(frozen=True)
class Case:
    """A network, its images and its batches."""

    model: Model
    channels: int
    size: int
    classes: int
    batch: int
    steps: int

    def network(self) -> Network:
        return build(self.model, self.channels, self.size, self.classes, seed=0).to(DEVICE)

    def images(self, batches: int = 0) -> TrainImages:
        """Return noise over a mean that tells the class, so that there is something to learn."""
        number = self.batch * (2 if ONLY_COMPILE else batches or self.steps)
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(number) % self.classes
        shape = (number, self.channels, self.size, self.size)
        noise = torch.randint(0, 128, shape, generator=generator)
        pixels = noise + (labels * 127 // self.classes).view(-1, 1, 1, 1)
        names = tuple(str(label) for label in range(self.classes))
        return TrainImages(pixels.to(torch.uint8), labels, names)

    def statistics(self) -> Normalization:
        return Normalization((0.5,) * self.channels, (0.25,) * self.channels)

    def gigaflops(self) -> float:
        """Return the arithmetic of one image in training: forward and twice that backward, in GFLOP."""
        network = build(self.model, self.channels, self.size, self.classes, seed=0).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, self.channels, self.size, self.size))
        return 3 * counter.get_total_flops() / 1e9


WRN = Case(
    sized(WideResNet(kind="wrn"), WideResNet(kind="wrn", depth=10, width=1)),
    3,
    sized(32, 16),
    10,
    sized(128, 4),
    sized(24, 1),
)
RESNET = Case(
    Timm(kind="timm", name=sized("resnet18", "test_resnet")),
    3,
    32,
    10,
    sized(128, 4),
    sized(100, 1),
)
CONVNET = Case(ConvNet(kind="convnet", width=8), 1, 16, 33, sized(32, 8), sized(100, 1))


def wrn(report: Report) -> None:
    """Measure WRN-28-10 at 32 × 32."""
    measure(WRN, report)


def resnet(report: Report) -> None:
    """Measure timm's ResNet-18 at 32 × 32."""
    measure(RESNET, report)


def convnet(report: Report) -> None:
    """Measure one run of the default ConvNet, whose steps are too short for a GPU."""
    measure(CONVNET, report)


def measure(case: Case, report: Report) -> None:
    """Measure the loops from the least to the most of what makes them fast."""
    work = case.gigaflops()
    low = "bfloat16" if GPU else "float32"

    def ours(name: str, precision: str, compiling: str = "", free: bool = False, batches: int = 0):
        if ONLY_COMPILE and not compiling:
            return
        with report.attempt(name):
            loop = OurLoop(case, precision, compiling, free, batches)
            add(name, loop.images, loop.epoch)

    def tight(name: str, compiling: bool = False, graph: bool = False):
        if ONLY_COMPILE and (graph or not compiling):
            return
        with report.attempt(name):
            loop = TightLoop(case, compiling, graph)
            add(name, loop.images, loop.epoch)

    def add(name: str, images: int, epoch: Callable[[], float]) -> None:
        losses: list[float] = []
        taken = seconds(lambda: losses.append(epoch()), warm_ups=1)
        if not math.isfinite(losses[-1]):
            raise ValueError(f"the loss became {losses[-1]}")
        speed = images / taken
        note = (
            f"{speed * work / 1e3:.3g} TFLOP/s, {1e3 * taken * case.batch / images:.2f} ms a step"
        )
        report.add(name, speed, "images/s", note)

    ours(f"ours, {low}, channels last", low)
    tight(f"tight loop, {low}, channels last")
    ours(f"ours, {low}, channels last, compile", low, "default")
    if case is WRN:  # Steps of the others wait for launches, whatever the kernels are.
        tight("tight loop, compile", compiling=True)
    tight("tight loop, the step as one CUDA graph", graph=True)
    ours("ours, compile with CUDA graphs (reduce-overhead)", low, "reduce-overhead")
    tight("tight loop, compile, the step as one CUDA graph", compiling=True, graph=True)
    if case is WRN:
        ours("ours, any kernel (not deterministic)", low, free=True)
        ours("ours, compile, any kernel", low, "default", free=True)
    ours("ours, float32 without TF32", "float32", batches=max(1, case.steps // 4))


class OurLoop:
    """An epoch of the project's own loop, as a job on this device runs it."""

    def __init__(
        self, case: Case, precision: str, compiling: str, free: bool, batches: int
    ) -> None:
        settle(free)
        torch._dynamo.reset()
        images = case.images(batches)
        self.images = len(images.labels)
        augmentation = Augmentation(shift=SHIFT, flip=True)
        data = TrainBatches(
            images, case.statistics(), case.batch, augmentation, DEVICE, 0, channels_last=True
        )
        options = Optimizer(momentum=MOMENTUM, weight_decay=DECAY)
        training = Training(epochs=1000, optimizer=options, precision=precision, channels_last=True)
        self.updates = Updates(case.network(), data, training, RATE, seed=0)
        if compiling:
            self.updates.forward = forward_of(self.updates.network, compiling)
        self.number = 0

    def epoch(self) -> float:
        self.number += 1
        (found,) = self.updates.epoch(self.number)
        return found.loss


class TightLoop:
    """The tight loop."""

    def __init__(self, case: Case, compiling: bool, graph: bool) -> None:
        settle(free=True)
        torch._dynamo.reset()
        self.network = low_precision(case.network()).to(memory_format=torch.channels_last).train()
        self.forward = forward_of(self.network, "default") if compiling else self.network
        options = {"momentum": MOMENTUM, "weight_decay": DECAY, "nesterov": True, "fused": True}
        self.optimizer = torch.optim.SGD(self.network.parameters(), RATE, **options)
        images = case.images()
        self.images, self.batch = len(images.labels), case.batch
        kind = torch.bfloat16 if GPU else torch.float32
        values = (images.images.to(DEVICE).float() / 255 - 0.5) / 0.25
        self.padded = F.pad(values.to(kind), [SHIFT] * 4, mode="replicate")
        self.labels = images.labels.to(DEVICE)
        self.inputs = values[: case.batch].to(kind, memory_format=torch.channels_last)
        self.targets = self.labels[: case.batch].clone()
        self.loss = torch.zeros((), device=DEVICE)
        self.step = captured(self._step) if graph else self._step

    def _step(self) -> None:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.forward(self.inputs).float(), self.targets)
        loss.backward()
        self.optimizer.step()
        self.loss.copy_(loss.detach())

    def epoch(self) -> float:
        augmented = self._augmented()
        for chosen in torch.randperm(self.images, device=DEVICE).split(self.batch):
            self.inputs.copy_(augmented[chosen])
            self.targets.copy_(self.labels[chosen])
            self.step()
        return float(self.loss)

    def _augmented(self) -> Tensor:
        """Shift and mirror every image once."""
        size = self.padded.shape[-1] - 2 * SHIFT
        corner = torch.randint(0, 2 * SHIFT + 1, (2, self.images, 1), device=DEVICE)
        rows, columns = (corner + torch.arange(size, device=DEVICE)).unbind()
        mirrored = torch.rand(self.images, 1, device=DEVICE) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        number = torch.arange(self.images, device=DEVICE)[:, None, None]
        return self.padded.movedim(1, 3)[number, rows[:, :, None], columns[:, None]].movedim(3, 1)


def settle(free: bool) -> None:
    """Let torch choose kernels as a job does, or any kernel, the fastest that it finds."""
    reproducible(DEVICE)
    if free:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True


def forward_of(network: nn.Module, mode: str) -> Callable[[Tensor], Tensor]:
    """Return a compiled forward pass; on the CPU it is traced, and not translated."""
    if not GPU:
        return torch.compile(network, backend="eager")
    return compiled(network, cuda_graphs=mode == "reduce-overhead")


def low_precision(network: nn.Module) -> nn.Module:
    """Give a network bfloat16 weights, norms apart."""
    for module in network.modules():
        if GPU and isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)
    return network
