"""How a network answers to noise on its weights: the sensitivity that long pre-training may build up."""

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.metrics.passes import require_images


class NoiseResponse(NamedTuple):
    """What noise on the weights costs, mean over draws of the noise; NaN with the reason."""

    loss_increase: float
    """Mean cross-entropy with noise minus without, in nats."""
    accuracy_drop: float
    """Accuracy without noise minus with it, a fraction; chance bounds it."""
    reason: str | None


def weight_scales(network: nn.Module) -> dict[str, float]:
    """Return the root mean square of every parameter of two or more dimensions."""
    return {
        name: float(value.detach().square().mean().sqrt())
        for name, value in network.named_parameters()
        if value.ndim > 1
    }


def weight_noise_response(
    network: nn.Module,
    images: Float[Tensor, "images ..."],
    labels: Int[Tensor, " images"],
    scales: Mapping[str, float],
    size: float,
    draws: int = 4,
    seed: int = 0,
) -> NoiseResponse:
    """Add Gaussian noise to the weights of a copy, and return how far loss and accuracy fall.

    After Springer et al. (2025, arXiv 2503.19206): parameter w becomes w + `size` · `scales`[w] · ε
    with ε of variance 1. With the scales of the untrained network, every checkpoint meets the same noise,
    tensor by tensor. All images are one batch, and batch normalisation uses its statistics, with and
    without noise: running averages would not fit the disturbed network, and would be what is
    measured. The given network and the global random generator stay as they are.

    Raises:
        ValueError: fewer than 2 images, or a scale for a parameter that the network does not have.
    """
    require_images(len(images))
    parameters = dict(network.named_parameters())
    if missing := sorted(set(scales) - set(parameters)):
        raise ValueError(f"scales of parameters that the network does not have: {missing}")
    generator = torch.Generator().manual_seed(seed)
    loss, accuracy = _measure(copy.deepcopy(network), images, labels)
    increases, drops = [], []
    for _ in range(draws):
        disturbed = copy.deepcopy(network)
        with torch.no_grad():
            for name, value in disturbed.named_parameters():
                if name in scales:
                    noise = torch.randn(value.shape, generator=generator).to(value)
                    value.add_(noise, alpha=size * scales[name])
        noisy_loss, noisy_accuracy = _measure(disturbed, images, labels)
        increases.append(noisy_loss - loss)
        drops.append(accuracy - noisy_accuracy)
    increase, drop = sum(increases) / draws, sum(drops) / draws
    if not math.isfinite(increase):
        return NoiseResponse(math.nan, math.nan, "the loss is not finite")
    return NoiseResponse(increase, drop, None)


def _measure(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return loss and accuracy with batch statistics and without dropout; changes running averages."""
    for module in network.modules():
        module.training = isinstance(module, _BatchNorm)
    with torch.no_grad():
        logits = network(images)
    return float(F.cross_entropy(logits, labels)), float(
        (logits.argmax(1) == labels).float().mean()
    )
