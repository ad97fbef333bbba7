"""Plasticity of a checkpoint: how many directions its features use, and how large its weights are.

Singular values are those of the features as they are, a matrix of images by features, as the
literature has it; a mean that all images share then is a direction, and often the largest.
`centred` removes it. Dormant units are in `dormancy`, gradient and Hessian in `curvature`, fitting
random labels in `trainability`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn

from headstart.metrics.passes import CONVOLUTIONS, Call, evaluation_mode, require_images, watched

SingularValues = Float64[Tensor, " values"]
ROUNDING = 1e-12


@dataclass(frozen=True)
class FeatureSpectrum:
    """Measures of the singular values of features; all NaN, with the reason, where undefined."""

    effective_rank: float
    stable_rank: float
    rank99: float
    ratio: float
    images: int
    reason: str | None


def feature_spectrum(
    features: Float[Tensor, "images features"], centred: bool = False
) -> FeatureSpectrum:
    """Return all measures of the singular values of features, computed in float64.

    Features that are constant over the images within the rounding of their precision, zero or not
    finite have no spectrum: NaN with the reason.

    Raises:
        ValueError: fewer than 2 images.
    """
    images = features.shape[0]
    require_images(images)
    reason = _undefined_reason(features)
    if reason is not None:
        return FeatureSpectrum(math.nan, math.nan, math.nan, math.nan, images, reason)
    values = singular_values(features, centred)
    floor = max(features.shape) * torch.finfo(features.dtype).eps
    return FeatureSpectrum(
        effective_rank(values),
        stable_rank(values),
        rank99(values),
        spectrum_ratio(values, floor),
        images,
        None,
    )


def singular_values(
    features: Float[Tensor, "images features"], centred: bool = False
) -> SingularValues:
    """Singular values in descending order, as multiples of the largest entry of the features."""
    x = features.double()
    largest = x.abs().max()
    x = x / torch.where(largest > 0, largest, 1)  # their squares neither overflow nor vanish
    return torch.linalg.svdvals(x - x.mean(0) if centred else x)


def effective_rank(values: SingularValues) -> float:
    """exp(−Σ p log p) with p = σ / Σσ and 0 log 0 = 0: from 1 to the number of singular values.

    Roy & Vetterli (2007); the code of Dohare et al. (2024, Nature 632) has the same p.
    """
    return float(torch.special.entr(values / values.sum()).sum().exp())


def stable_rank(values: SingularValues) -> float:
    """‖F‖²_F / σ₁², from 1 to the number of singular values (Rudelson & Vershynin 2007).

    What the code of Dohare et al. (2024) names stable rank is `rank99`.
    """
    return float((values / values[0]).square().sum())


def rank99(values: SingularValues, share: float = 0.99) -> float:
    """Return the fewest singular values whose sum is at least `share` of the sum of all.

    A tie counts as reached, within a relative rounding of 1e-12: 100 equal values have rank 99.
    """
    if not values.any():
        return math.nan
    reached = values.cumsum(0) >= share * values.sum() * (1 - ROUNDING)
    return float(len(values) - int(reached.sum()) + 1)


def spectrum_ratio(values: SingularValues, floor: float = ROUNDING) -> float:
    """σ₁ / σ₂; infinite where there is no second value above `floor` · σ₁."""
    if not values.any():
        return math.nan
    if len(values) < 2 or float(values[1]) <= floor * float(values[0]):
        return math.inf
    return float(values[0] / values[1])


def _undefined_reason(features: Tensor) -> str | None:
    if not features.isfinite().all():
        return "features that are not finite"
    largest = features.double().abs().max() if features.numel() else 0.0
    if largest == 0:
        return "zero features: every image has the zero vector as representation"
    x = features.double() / largest
    if (x - x.mean(0)).norm() <= torch.finfo(features.dtype).eps * x.norm():
        return "constant features: every image has the same representation"
    return None


def mean_absolute_weight(network: nn.Module) -> float:
    """Mean |w| over all parameters, biases and normalisation included (Dohare et al. 2024).

    Raises:
        ValueError: a network without parameters.
    """
    sizes = [parameter.numel() for parameter in network.parameters()]
    if not sum(sizes):
        raise ValueError("the network has no parameters, so that their mean is undefined")
    sums = [parameter.detach().abs().double().sum() for parameter in network.parameters()]
    return float(torch.stack(sums).sum()) / sum(sizes)


def squared_weight_norms(network: nn.Module) -> dict[str, float]:
    """‖w‖² of every weight array, a parameter of two or more dimensions, by its name."""
    return {
        name: float(parameter.detach().double().square().sum())
        for name, parameter in network.named_parameters()
        if parameter.ndim >= 2
    }


def effective_learning_rates(
    network: nn.Module, images: Float[Tensor, "images ..."], learning_rate: float
) -> dict[str, float]:
    """η / ‖w‖² of every convolution before batch normalisation, by the name of its weights.

    The network's function does not change with the length of these weights, and a step of gradient
    descent turns them by an angle in proportion to η / ‖w‖² (van Laarhoven 2017, arXiv 1706.05350).
    Empty for a network without them; NaN where weights are all zero. See `normalised_convolutions`.
    """
    norms = squared_weight_norms(network)
    return {
        name: learning_rate / norms[name] if norms[name] else math.nan
        for name in normalised_convolutions(network, images)
    }


def normalised_convolutions(
    network: nn.Module, images: Float[Tensor, "images ..."]
) -> tuple[str, ...]:
    """Names of the weights of convolutions whose output goes to batch normalisation and only there.

    This is read off one forward pass over any image. The order of modules does not decide: the last
    convolution of a pre-activation residual block stands before the norm of the next block, but is
    added to the shortcut first. Weights that the network computes from others are left out.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    outputs: dict[int, tuple[str, Tensor]] = {}  # holding the tensors keeps their ids unique
    uses: dict[str, list[bool]] = {}

    def observe(call: Call) -> None:
        for tensor in call.inputs:
            if id(tensor) in outputs:
                uses[outputs[id(tensor)][0]].append(call.function is F.batch_norm)
        if call.function in CONVOLUTIONS:
            for tensor in call.inputs:
                if id(tensor) in names and tensor.ndim > 2:
                    outputs[id(call.outputs[0])] = names[id(tensor)], call.outputs[0]
                    uses.setdefault(names[id(tensor)], [])

    with evaluation_mode(network), torch.no_grad(), watched(network, observe):
        network(images)
    return tuple(name for name, normalised in uses.items() if normalised and all(normalised))
