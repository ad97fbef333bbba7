"""Dormant units: those that a network's activation function leaves silent on nearly all images.

A unit is a neuron, or a channel of a convolution with all its positions, or an entry of the hidden
layer of a transformer with all its tokens.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from headstart.metrics.passes import (
    CONVOLUTIONS,
    Batches,
    Call,
    evaluation_mode,
    require_images,
    watched,
)

RELU = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
GELU = (F.gelu,)

Rectifier = Literal["relu", "gelu"]


class UnitActivity(NamedTuple):
    """What the units of one layer did over some images."""

    firing_images: Float64[Tensor, " units"]
    """Fraction of images in which the unit is non-zero at one position or more."""
    firing_positions: Float64[Tensor, " units"]
    """Fraction of (image, position) pairs where the unit is non-zero."""
    magnitude: Float64[Tensor, " units"]
    """Mean |h| over images and positions."""
    images: int
    rectifier: Rectifier


class Dormancy(NamedTuple):
    """The fraction of units that are dormant; NaN with the reason where it is undefined."""

    fraction: float
    units: int
    reason: str | None


def unit_activity(
    activations: Float[Tensor, "images ..."], rectifier: Rectifier = "relu", unit_axis: int = 1
) -> UnitActivity:
    """Summarise activations [images, units] or [images, units, height, width], or any with units
    along `unit_axis`.
    """
    # A position is added where there is none.
    values = activations.detach().movedim(unit_axis, 1)[..., None].flatten(2)
    nonzero = values != 0
    return UnitActivity(
        nonzero.any(-1).mean(0, dtype=torch.float64),
        nonzero.mean((0, 2), dtype=torch.float64),
        values.abs().mean((0, 2), dtype=torch.float64),
        len(activations),
        rectifier,
    )


def lop_dormant_fraction(
    layers: Sequence[UnitActivity],
    rate: float = 0.01,
    count: Literal["images", "positions"] = "images",
) -> Dormancy:
    """Fraction of all units that are non-zero on less than `rate` of the inputs.

    Dohare et al. (2024, Nature 632), loss of plasticity. An input is an image, or with `count`
    "positions" a position of an image, as the authors' code counts convolutional channels. Layers
    of GELU are left out, because it is never exactly zero; NaN if no other is there.

    Raises:
        ValueError: no layers, fewer than 2 images, or a rate outside (0, 1].
    """
    if not 0 < rate <= 1:
        raise ValueError(f"the rate is {rate}: give a fraction of inputs, above 0 and at most 1")
    _require_layers(layers)
    rectified = [layer for layer in layers if layer.rectifier == "relu"]
    if not rectified:
        return Dormancy(math.nan, 0, "all layers are GELU, whose output is never exactly zero")
    firing = [
        layer.firing_images if count == "images" else layer.firing_positions for layer in rectified
    ]
    return _dormancy(rectified, [unit < rate for unit in firing])


def redo_dormant_fraction(layers: Sequence[UnitActivity], tau: float = 0.025) -> Dormancy:
    """Fraction of all units whose mean |h| is at most τ times the mean of their layer.

    Sokar et al. (2023, arXiv 2302.12902), ReDo, with τ of 0.025 or 0.1. In a layer of zeros all
    units are dormant.

    Raises:
        ValueError: no layers, fewer than 2 images, or a negative τ.
    """
    if tau < 0:
        raise ValueError(f"τ is {tau}: give zero or more")
    _require_layers(layers)
    return _dormancy(layers, [layer.magnitude <= tau * layer.magnitude.mean() for layer in layers])


def _require_layers(layers: Sequence[UnitActivity]) -> None:
    if not layers:
        raise ValueError("no layers: give the activity of at least one")
    require_images(min(layer.images for layer in layers))


def _dormancy(layers: Sequence[UnitActivity], dormant: list[Bool[Tensor, " _"]]) -> Dormancy:
    units = sum(len(layer) for layer in dormant)
    if not all(layer.magnitude.isfinite().all() for layer in layers):
        return Dormancy(math.nan, units, "activations that are not finite")
    return Dormancy(sum(int(layer.sum()) for layer in dormant) / units, units, None)


def collect_activity(network: nn.Module, batches: Batches) -> dict[str, UnitActivity]:
    """Return the activity after every ReLU and GELU of a network in evaluation mode, module or function.

    Keys, in the order of computation, are the names of the modules in which they run; a second one
    in the same module has `#2` behind it, and those outside all children begin with `network`.
    Units lie along the last axis where the last layer before was linear (tokens, or channels-last
    maps), otherwise along axis 1. Labels are not used, and only sums are kept.

    Raises:
        ValueError: fewer than 2 images, or a network without ReLU and GELU.
    """
    batchwise: list[dict[str, UnitActivity]] = []
    with evaluation_mode(network), torch.no_grad():
        for images, _ in batches:
            collector = _Collector()
            with watched(network, collector.observe):
                network(images)
            _require_rectifiers(collector.layers, network)
            batchwise.append(collector.layers)
    layers = {
        name: reduce(_pooled, [batch[name] for batch in batchwise])
        for name in (batchwise[0] if batchwise else {})
    }
    require_images(next(iter(layers.values())).images if layers else 0)
    return layers


def _require_rectifiers(layers: dict[str, UnitActivity], network: nn.Module) -> None:
    if not layers:
        raise ValueError(
            f"{type(network).__name__} calls neither ReLU nor GELU: "
            "dormant units are defined after these two only"
        )


class _Collector:
    """Return the activity of each layer in one pass."""

    def __init__(self) -> None:
        self.layers: dict[str, UnitActivity] = {}
        self._unit_axis = 1

    def observe(self, call: Call) -> None:
        if call.function is F.linear:
            self._unit_axis = -1
        elif call.function in CONVOLUTIONS:
            self._unit_axis = 1
        elif call.function in RELU:
            self._add(call, "relu")
        elif call.function in GELU:
            self._add(call, "gelu")

    def _add(self, call: Call, rectifier: Rectifier) -> None:
        name = call.module or "network"
        number = 1 + sum(key == name or key.startswith(f"{name}#") for key in self.layers)
        key = name if number == 1 else f"{name}#{number}"
        self.layers[key] = unit_activity(call.outputs[0], rectifier, self._unit_axis)


def _pooled(first: UnitActivity, second: UnitActivity) -> UnitActivity:
    """Both together, by their numbers of images."""
    images = first.images + second.images

    def mean(one: Tensor, other: Tensor) -> Tensor:
        return (one * first.images + other * second.images) / images

    return UnitActivity(
        mean(first.firing_images, second.firing_images),
        mean(first.firing_positions, second.firing_positions),
        mean(first.magnitude, second.magnitude),
        images,
        first.rectifier,
    )
