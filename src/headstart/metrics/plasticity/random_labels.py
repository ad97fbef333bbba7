"""Random-label probe: how well a checkpoint can still learn, apart from what it knows."""

import copy
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.adam import adam

from headstart.metrics.passes import evaluation_mode, require_images

Method = Literal["sgd", "adam"]


class RandomLabelProbe(NamedTuple):
    """Training loss and accuracy on random labels; NaN with the reason where training diverged."""

    loss: float
    """Mean cross-entropy in nats after the last step; ln of the classes is chance."""
    accuracy: float
    """Fraction of images whose random label is predicted."""
    initial_loss: float
    """The loss before the first step."""
    classes: int
    images: int
    steps: int
    """Steps made, fewer than requested where training diverged."""
    reason: str | None


def random_label_probe(
    network: nn.Module,
    images: Float[Tensor, "images ..."],
    steps: int,
    learning_rate: float,
    optimizer: Method = "sgd",
    batch_size: int = 128,
    seed: int = 0,
) -> RandomLabelProbe:
    """Train a copy of a network for K steps on labels drawn once, and return how far it came.

    Labels are uniform over the network's logits and, like the order of images, depend on the seed
    alone, so that checkpoints meet the same task. Batches have `batch_size` images or a few more.
    Training is that of fine-tuning: all modules in training mode, parameters that require a
    gradient, SGD without momentum or Adam with β = (0.9, 0.999), no weight decay. Loss and accuracy
    are those of all images under the same conditions, batch statistics included, but without
    dropout. The given network and the global random generator stay as they are. After Lyle et al.
    (2023, arXiv 2303.01486), who fit networks to random targets.

    Raises:
        ValueError: fewer than 2 images, no parameter that requires a gradient, negative steps, a
            learning rate that is not positive, or batches of fewer than 2 images.
    """
    _check(network, images, steps, learning_rate, batch_size)
    generator = torch.Generator().manual_seed(seed)
    pupil = copy.deepcopy(network)
    classes = _count_classes(pupil, images)
    labels = torch.randint(classes, (len(images),), generator=generator).to(images.device)
    devices = [images.device] if images.is_cuda else []
    # Dropout and the like draw from the global generator.
    with torch.random.fork_rng(devices), torch.enable_grad():
        torch.manual_seed(seed)
        initial, _ = _measure(pupil, images, labels, batch_size)
        made = _train(
            pupil, images, labels, steps, optimizer, learning_rate, batch_size, generator,
        )  # fmt: skip
        loss, accuracy = _measure(pupil, images, labels, batch_size)
    reason = None
    if made < steps or not math.isfinite(loss):
        loss, accuracy, reason = math.nan, math.nan, f"the loss is not finite after {made} steps"
    return RandomLabelProbe(loss, accuracy, initial, classes, len(images), made, reason)


def _check(
    network: nn.Module, images: Tensor, steps: int, learning_rate: float, batch_size: int
) -> None:
    require_images(len(images))
    if steps < 0 or learning_rate <= 0 or batch_size < 2:
        raise ValueError(
            f"{steps} steps at learning rate {learning_rate} in batches of {batch_size}: give zero "
            "or more steps, a positive learning rate and batches of at least 2 images"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("no parameter requires a gradient: call requires_grad_() on the network")


def _count_classes(network: nn.Module, images: Tensor) -> int:
    with evaluation_mode(network), torch.no_grad():
        return int(network(images[:1]).shape[1])


def updates(parameters: list[Tensor], method: Method, learning_rate: float) -> Callable[[], None]:
    """Return what makes one update of parameters from their gradients; those without one stay.

    Adam is torch's function: torch's classes load its compiler, which takes longer than the probe.
    """
    means, squares = ([torch.zeros_like(each) for each in parameters] for _ in range(2))
    steps = [torch.zeros((), device=each.device) for each in parameters]

    @torch.no_grad()
    def update() -> None:
        gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in parameters]
        if method == "sgd":
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=learning_rate)
            return
        adam(
            parameters, gradients, means, squares, [], steps, amsgrad=False, beta1=0.9, beta2=0.999,
            lr=learning_rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip

    return update


def _parts(images: int, batch_size: int) -> int:
    # Rounded down, so that no batch is left with a single image, which has no batch statistics.
    return max(1, images // batch_size)


def _train(
    network: nn.Module,
    images: Tensor,
    labels: Int[Tensor, " images"],
    steps: int,
    optimizer: Method,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
) -> int:
    """Make the steps in place; return how many had a finite loss before it."""
    network.train()
    parameters: list[Tensor] = [x for x in network.parameters() if x.requires_grad]
    update = updates(parameters, optimizer, learning_rate)
    batches: list[Tensor] = []
    for step in range(steps):
        if not batches:
            order = torch.randperm(len(images), generator=generator).to(images.device)
            batches = list(order.tensor_split(_parts(len(images), batch_size)))
        chosen = batches.pop(0)
        loss = F.cross_entropy(network(images[chosen]), labels[chosen])
        if not bool(loss.isfinite()):
            return step
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        update()
    return steps


def _measure(
    network: nn.Module, images: Tensor, labels: Int[Tensor, " images"], batch_size: int
) -> tuple[float, float]:
    """Mean loss and accuracy over all images, with batch statistics and without dropout."""
    for module in network.modules():
        module.training = isinstance(module, _BatchNorm)
    parts = _parts(len(images), batch_size)
    loss, correct = 0.0, 0
    with torch.no_grad():
        for inputs, targets in zip(
            images.tensor_split(parts), labels.tensor_split(parts), strict=True
        ):
            logits = network(inputs)
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
            correct += int((logits.argmax(1) == targets).sum())
    return loss / len(images), correct / len(images)
