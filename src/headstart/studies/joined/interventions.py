"""What is done to a start before it is fine-tuned: knowledge is taken away, or its trainability repaired."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from headstart.metrics import decompose, log_odds, walsh
from headstart.metrics.interactions.counterfactual import random_part
from headstart.metrics.interactions.masking import pixel_inputs, zero_baseline
from headstart.metrics.interactions.transform import strength, walsh_values
from headstart.metrics.passes import evaluation_mode
from headstart.metrics.plasticity.random_labels import updates
from headstart.networks.network import Network, block_names, late_blocks_replaced
from headstart.studies.joined.measures import Players, Table, interactions
from headstart.studies.joined.params import Intervention
from headstart.training.interventions import shrink_perturb

REMOVED, RANDOM, SHAM = "preserved_removed", "random_removed", "nothing_removed"
REMOVALS = (REMOVED, RANDOM, SHAM)
IMAGES = 8
"""Different images in a batch of masked ones."""


def preserved_part(start: Table, tuned: Table) -> Table:
    """Return the Walsh coefficients that fine-tuning preserves, in the start's own unit, from scores of both.

    What is preserved is decided on coefficients that are normalised by each network's strength.
    """
    part = decompose(interactions(start), interactions(tuned)).preserved
    part = (part * strength(walsh(start)).mean()).nan_to_num(0.0)
    part[..., 0] = 0.0
    return part


def scores_without(start: Table, tuned: Table, generator: torch.Generator) -> dict[str, Table]:
    """Return a start's scores without the preserved interactions, without as many others, and as they are.

    `start` and `tuned` are scores. Those at random are drawn from all of the start, as strong at every
    order, so that some of them are preserved ones too.
    """
    own, preserved = walsh(start), preserved_part(start, tuned)
    drawn = random_part(own, preserved, generator)
    parts = {REMOVED: preserved, RANDOM: drawn, SHAM: torch.zeros_like(own)}
    return {name: walsh_values(own - part) for name, part in parts.items()}


def taken(part: Table, start: Table, changed: Table) -> float:
    """Return which share of a part of the knowledge a change took away, Σ sign(K)·ΔI / Σ|K|: 1 where all, 0 where none.

    `part` are Walsh coefficients of the start, `start` and `changed` scores. What the change took of other
    coefficients counts for nothing.
    """
    lost = part.sign() * (walsh(start) - walsh(changed))
    return float(lost.sum() / part.abs().sum())


def retrained(
    start: Network,
    images: Tensor,
    labels: Tensor,
    players: Players,
    wanted: Table,
    options: Intervention,
    generator: torch.Generator,
) -> tuple[Network, float]:
    """Return a copy of a network that gives other scores to masked images, and the R² of how well.

    Targeted fine-tuning: on images and masks drawn at random, the log-odds are regressed on those wanted.
    Mean squared error, Adam; the network is in evaluation mode, in which interactions are read. R² is over
    the last quarter of the steps.

    Args:
        start: with a head that was trained on the images' classes.
        images, labels: normalised images [images, c, h, w].
        players: what is masked.
        wanted: v(x_T) of every image and set of visible players.
        options: steps, masked images per step and rate.
        generator: of images and masks.
    """
    network = copy.deepcopy(start)
    inputs = pixel_inputs(images, players.to(images.device), zero_baseline(images))
    parameters: list[Tensor] = [each for each in network.parameters() if each.requires_grad]
    update = updates(parameters, "adam", options.learning_rate)
    each = max(1, options.batch_size // IMAGES)
    errors = []
    with evaluation_mode(network):
        for _ in range(options.steps):
            drawn = torch.randint(len(labels), (IMAGES,), generator=generator)
            masks = torch.randint(wanted.shape[-1], (each,), generator=generator)
            target = wanted[drawn][:, masks].to(images)
            logits = network(inputs(drawn.to(images.device), masks.to(images.device)))
            own = labels[drawn.to(labels.device)].repeat_interleave(each)
            error = (log_odds(logits, own).view_as(target) - target).square().mean()
            gradients = torch.autograd.grad(error, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            update()
            errors.append(float(error.detach()))
    for parameter in parameters:
        parameter.grad = None
    last = errors[-max(1, len(errors) // 4) :]
    return network, 1 - sum(last) / len(last) / float(wanted.var())


def repairs(
    start: Network, first: Network, fresh: nn.Module, options: Intervention
) -> dict[str, Network]:
    """Return copies of a start that are easier to train, by the name of what was done.

    Args:
        start: the checkpoint.
        first: the same network at source epoch 0.
        fresh: a backbone that was never trained.
        options: how much is shrunk and perturbed.
    """
    shrunk, block = copy.deepcopy(start), copy.deepcopy(start)
    shrink_perturb(shrunk.backbone, fresh, options.shrink, options.perturb)
    last = len(block_names(start.backbone)) - 1
    block.backbone = late_blocks_replaced(start.backbone, fresh, last)
    return {
        "shrink_perturb": shrunk,
        "fresh_block": block,
        "rescaled": rescaled(start, first),
    }


def rescaled(start: Network, first: Network) -> Network:
    """Return a network whose weight arrays are as long as those of another, each on its own.

    Where batch normalisation follows, the function stays as it is, once its statistics are estimated anew,
    and a step of gradient descent turns the weights by η / ‖w‖² (van Laarhoven 2017, arXiv 1706.05350):
    knowledge is untouched, and the rate is what it was before any training.
    """
    result = copy.deepcopy(start)
    lengths = {name: value.detach().norm() for name, value in first.backbone.named_parameters()}
    with torch.no_grad():
        for name, value in result.backbone.named_parameters():
            if value.ndim > 1 and float(value.norm()) > 0:
                value.mul_(lengths[name].to(value) / value.norm())
    return result
