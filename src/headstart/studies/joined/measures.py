"""What is measured of one start, and of two fine-tunings of it: functions of networks and images alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from headstart.metrics import (
    InversionOptimizer,
    decompose,
    gradient_norm,
    invert,
    linear_cka,
    masked_scores,
    redo_dormant_fraction,
    seed_images,
    walsh,
)
from headstart.metrics.interactions.decomposition import normalise, permute_within_orders
from headstart.metrics.interactions.shares import exclusivity, share
from headstart.metrics.plasticity.dormancy import collect_activity
from headstart.metrics.plasticity.spectrum import feature_spectrum, squared_weight_norms
from headstart.networks.network import Network
from headstart.tasks.batches import Normalization
from headstart.training.evaluation import evaluate
from headstart.training.interventions import batch_norms, recalibrate
from headstart.training.records import EvaluationData, TrainingBatches

Found = dict[str, float]
Table = Float[Tensor, "images subsets"]
Players = Bool[Tensor, "players height width"]


def scores(network: nn.Module, images: Tensor, labels: Tensor, players: Players) -> Table:
    """Return v(x_T) of every image and set of visible cells, in log-odds; hidden pixels are the source's mean.

    NaN where a network has diverged.
    """
    try:
        return masked_scores(network, images, labels, players.to(images.device)).double().cpu()
    except ValueError:  # logits that are not finite
        return torch.full((len(labels), 2 ** len(players)), torch.nan, dtype=torch.float64)


def interactions(values: Table) -> Table:
    """Return Walsh coefficients, divided by the mean over images of their strength."""
    return normalise(walsh(values))


def kept_knowledge(
    start: Table, tuned: Table, again: Table, draws: int, generator: torch.Generator
) -> Found:
    """Return which share of a start's interactions fine-tuning preserves, by chance, and between two runs.

    All three are Σ|K| / Σ|I|: of start and fine-tuned network; the same with the fine-tuned network's
    interactions permuted within their order; of a second run and the first. The excess is the first minus
    the second.

    Args:
        start, tuned, again: normalised interactions of the start, and of two runs from it.
        draws: of the permutation.
        generator: of it.
    """
    preserved = _share(start, tuned)
    chance = [_share(start, permute_within_orders(tuned, generator)) for _ in range(draws)]
    mean = sum(chance) / draws
    return {
        "preserved": preserved,
        "preserved_chance": mean,
        "preserved_ceiling": _share(again, tuned),
        "preserved_excess": preserved - mean,
    }


def still_there(part: Table, other: Table, draws: int, generator: torch.Generator) -> float:
    """Return which share of a part of the knowledge another network has too, above chance."""
    chance = [
        _ratio(exclusivity(part, permute_within_orders(other, generator))) for _ in range(draws)
    ]
    return _ratio(exclusivity(part, other)) - sum(chance) / draws


def _share(start: Table, tuned: Table) -> float:
    return _ratio(share(decompose(start, tuned).preserved, start))


def _ratio(found: Any) -> float:
    """Return a ratio of sums over images, all orders together."""
    return float(found.parts[:, 0].sum() / found.wholes[:, 0].sum())


def features_of(network: Network, normalization: Normalization) -> Callable[[Tensor], Tensor]:
    """Return the function from pixels in [0, 1] to what the head sees; nothing of it is trained."""
    frozen = copy.deepcopy(network.backbone).eval().requires_grad_(False)
    mean, std = (
        torch.tensor(values).view(-1, 1, 1) for values in (normalization.mean, normalization.std)
    )
    return lambda pixels: frozen((pixels - mean.to(pixels)) / std.to(pixels))


def kept_invariances(
    start: Callable[[Tensor], Tensor],
    tuned: Callable[[Tensor], Tensor],
    unrelated: Callable[[Tensor], Tensor],
    pixels: Float[Tensor, "images channels height width"],
    optimizer: InversionOptimizer,
    generator: torch.Generator,
) -> Found:
    """Return STIR of a start and its fine-tuned network, both ways, between a ceiling and chance.

    STIR(m2 | m1) is CKA of m2 on images and on others that m1 cannot tell from them (arXiv 2307.06006). What
    is kept is STIR(tuned | start) − STIR(unrelated | start), what is forgotten STIR(start | start) −
    STIR(tuned | start), what is learnt STIR(tuned | tuned) − STIR(start | tuned).
    """
    seeds = seed_images(pixels, "noise", generator)

    def inverted(reference: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            targets = reference(pixels)
        return invert(reference, targets, seeds, optimizer).images

    def shared(target: Callable[[Tensor], Tensor], images: Tensor) -> float:
        with torch.no_grad():
            return linear_cka(target(pixels), target(images))

    of_start, of_tuned = inverted(start), inverted(tuned)
    itself, kept, chance = (shared(each, of_start) for each in (start, tuned, unrelated))
    return {
        "invariance_self": itself,
        "invariance_chance": chance,
        "invariance_excess": kept - chance,
        "forgotten": itself - kept,
        "learnt": shared(tuned, of_tuned) - shared(start, of_tuned),
    }


def interpolated(one: Network, other: Network, at: float = 0.5) -> Network:
    """Return the network whose parameters lie between two, (1 − at) · one + at · other."""
    between = copy.deepcopy(one)
    theirs = other.state_dict()
    mixed = {
        name: value.lerp(theirs[name], at) if value.is_floating_point() else value
        for name, value in one.state_dict().items()
    }
    between.load_state_dict(mixed)
    return between


def barrier(one: Network, other: Network, train: TrainingBatches, test: EvaluationData) -> float:
    """Return by how many points of accuracy the middle of two networks lies below their mean.

    Linear mode connectivity (Frankle et al. 2020, arXiv 1912.05671) at the middle of the line. Statistics of
    batch normalisation are estimated anew at the middle and at both ends, for the average of two networks'
    statistics is not that of the average network (Jordan et al. 2023, arXiv 2211.08403).
    """
    middle = interpolated(one, other)
    ends = [refreshed_accuracy(each, train, test) for each in (one, other)]
    return 100 * (sum(ends) / 2 - refreshed_accuracy(middle, train, test))


def refreshed_accuracy(network: Network, train: TrainingBatches, test: EvaluationData) -> float:
    """Return accuracy with statistics of batch normalisation estimated anew, where there are any."""
    anew = copy.deepcopy(network)
    if batch_norms(anew):
        recalibrate(anew, train.epoch(0))
    return evaluate(anew, test).accuracy


def plasticity(start: Network, images: Tensor, labels: Tensor) -> Found:
    """Return measures of a start with the new head, before any step: `headstart.metrics.plasticity` defines them."""
    batches = [(images, labels)]
    with torch.no_grad():
        start.eval()
        features = start.features(images)
    return {
        "dormant": _dormant(start.backbone, batches),
        "effective_rank": feature_spectrum(features).effective_rank,
        "squared_weight_norm": sum(squared_weight_norms(start.backbone).values()),
        "gradient_norm": gradient_norm(start, batches).value,
    }


def _dormant(backbone: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    try:
        layers = list(collect_activity(backbone, batches).values())
    except ValueError:  # a network of one's own may have other activation functions
        return math.nan
    return redo_dormant_fraction(layers).fraction


def tidy(found: Mapping[str, float]) -> list[tuple[str, float, str]]:
    """Return metric, value and the reason why a value is missing."""
    reason = "scores, features or weights that are not finite, or a measure that is 0/0"
    return [(name, value, "" if math.isfinite(value) else reason) for name, value in found.items()]
