"""What is read off one checkpoint: every measure of plasticity as a row of a tidy table."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headstart.metrics.passes import Batches, evaluation_mode
from headstart.metrics.plasticity.curvature import gradient_norm, top_hessian_eigenvalue
from headstart.metrics.plasticity.dormancy import (
    collect_activity,
    lop_dormant_fraction,
    redo_dormant_fraction,
)
from headstart.metrics.plasticity.noise import weight_noise_response
from headstart.metrics.plasticity.random_labels import random_label_probe
from headstart.metrics.plasticity.spectrum import (
    effective_learning_rates,
    feature_spectrum,
    mean_absolute_weight,
    squared_weight_norms,
)
from headstart.networks.network import Network
from headstart.studies.early_stopping.params import Plasticity, RandomLabels
from headstart.training.evaluation import evaluate
from headstart.training.interventions import batch_norms, recalibrate

Batch = tuple[Tensor, Tensor]


class Measurement(NamedTuple):
    """One measurement; a NaN has its reason in words, other values have none."""

    metric: str
    value: float
    reason: str = ""


def measure_weights(backbone: nn.Module, images: Tensor, learning_rate: float) -> list[Measurement]:
    """Measure the weights that transfer, the source head left out: mean |w|, Σ‖w‖² and mean η/‖w‖².

    The last is the mean over convolutions whose output goes to batch normalisation and only there;
    `images` [2, c, h, w] are passed through once to find them.
    """
    norms = squared_weight_norms(backbone)
    rates = effective_learning_rates(backbone, images, learning_rate)
    rate = fmean(rates.values()) if rates else math.nan
    reason = "" if rates else "no convolution goes to batch normalisation alone"
    if rates and math.isnan(rate):
        reason = "the weights of a normalised convolution are all zero"
    return [
        Measurement("mean_absolute_weight", mean_absolute_weight(backbone)),
        Measurement("squared_weight_norm", sum(norms.values())),
        Measurement("effective_learning_rate", rate, reason),
    ]


def measure_source(network: Network, held: Batches, train: Batches) -> list[Measurement]:
    """Measure source accuracy as the network is, and with batch statistics estimated anew.

    Running averages lag behind weights that move fast, so that early checkpoints look worse than they
    are. `held` are validation images, `train` the training images in shuffled batches.
    """
    stored = Measurement("source_accuracy", evaluate(network, held).accuracy)
    if not batch_norms(network):
        reason = "no batch normalisation keeps running statistics"
        return [stored, Measurement("source_accuracy_reestimated", math.nan, reason)]
    anew = copy.deepcopy(network)
    recalibrate(anew, train)
    return [stored, Measurement("source_accuracy_reestimated", evaluate(anew, held).accuracy)]


def measure_noise(
    network: Network,
    batches: list[Batch],
    scales: Mapping[str, float],
    options: Plasticity,
    seed: int,
) -> list[Measurement]:
    """Measure what noise on the weights costs on the source task, with the head trained there."""
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    response = weight_noise_response(
        network, images, labels, scales, options.weight_noise, options.noise_draws, seed
    )
    reason = response.reason or ""
    return [
        Measurement("noise_loss_increase", response.loss_increase, reason),
        Measurement("noise_accuracy_drop", response.accuracy_drop, reason),
    ]


def measure_features(network: Network, batches: list[Batch], tau: float) -> list[Measurement]:
    """Measure what the head sees of all images, and which units in front of it are dormant."""
    with evaluation_mode(network), torch.no_grad():
        features = torch.cat([network.features(images) for images, _ in batches])
    spectrum = feature_spectrum(features)
    names = {
        "effective_rank": spectrum.effective_rank,
        "stable_rank": spectrum.stable_rank,
        "rank99": spectrum.rank99,
        "spectrum_ratio": spectrum.ratio,
    }
    ranks = [Measurement(name, value, spectrum.reason or "") for name, value in names.items()]
    return [*ranks, *_dormancy(network, batches, tau)]


def _dormancy(network: Network, batches: list[Batch], tau: float) -> list[Measurement]:
    names = ("lop_dormant_fraction", "redo_dormant_fraction")
    try:
        layers = list(collect_activity(network.backbone, batches).values())
    except ValueError as error:  # a network of one's own may have other activation functions
        return [Measurement(name, math.nan, str(error)) for name in names]
    found = (lop_dormant_fraction(layers), redo_dormant_fraction(layers, tau))
    return [
        Measurement(name, dormancy.fraction, dormancy.reason or "")
        for name, dormancy in zip(names, found, strict=True)
    ]


def measure_start(network: Network, batches: Batches, hessian: bool) -> list[Measurement]:
    """Measure the loss surface where fine-tuning starts: the network must have the new head."""
    gradient = gradient_norm(network, batches)
    measurements = [Measurement("gradient_norm", gradient.value, gradient.reason or "")]
    if hessian:
        top = top_hessian_eigenvalue(network, batches)
        measurements.append(Measurement("top_hessian_eigenvalue", top.value, top.reason or ""))
    return measurements


def measure_random_labels(
    network: Network, images: Tensor, options: RandomLabels, seed: int
) -> list[Measurement]:
    """Measure how well a copy of the network, with a new head, fits random labels in a few steps."""
    probe = random_label_probe(
        network,
        images,
        options.steps,
        options.learning_rate,
        options.optimizer,
        options.batch_size,
        seed,
    )
    reason = probe.reason or ""
    return [
        Measurement("random_label_loss", probe.loss, reason),
        Measurement("random_label_accuracy", probe.accuracy, reason),
    ]
