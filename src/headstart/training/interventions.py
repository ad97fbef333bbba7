"""What may be done to a network against the harm of long pre-training."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.metrics.passes import evaluation_mode
from headstart.training import TrainingError
from headstart.training.records import Batch


def shrink_perturb(network: nn.Module, fresh: nn.Module, shrink: float, perturb: float) -> None:
    """Replace parameters θ by λ θ + σ θ', in place (Ash & Adams 2020, arXiv 1910.08475).

    The noise θ' is the parameters of a freshly initialised network, as in the authors' code, because
    each kind of parameter is initialised at its own scale. Running statistics stay those of the
    network before (in the authors' code they start anew): `recalibrate` makes them fit.

    Args:
        network: what is changed; a backbone, where the head is new anyway.
        fresh: a network of the same architecture; it is left as it is.
        shrink: λ in [0, 1].
        perturb: σ ≥ 0.

    Raises:
        TrainingError: the two do not have the same parameters.
    """
    noise = dict(fresh.named_parameters())
    shapes = {name: value.shape for name, value in noise.items()}
    if shapes != {name: value.shape for name, value in network.named_parameters()}:
        raise TrainingError("noise needs a fresh network of one architecture; parameters differ")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(shrink)
            if perturb:
                parameter.add_(noise[name].to(parameter.device), alpha=perturb)


def recalibrate(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Estimate the running statistics of batch normalisation anew, in place.

    Means and variances become averages over the batches, each weighted by its number of images, so
    that the mean of the first norm is that over all images; variances are those within batches,
    which training normalises by ("precise" batch normalisation, Wu & Johnson 2021, arXiv
    2105.07576). Only norms are in training mode: dropout is off, and no parameter changes. Updates
    never read running statistics, so this changes what evaluation sees, and no step of training.

    Raises:
        TrainingError: the network has no batch normalisation with running statistics.
    """
    norms = batch_norms(network)
    if not norms:
        raise TrainingError(
            "recalibrate_batch_norm: this network has no batch normalisation; leave it out"
        )
    momenta = [norm.momentum for norm in norms]
    seen = 0
    with evaluation_mode(network), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        for inputs, labels in batches:
            images = labels.shape[-1]
            seen += images
            for norm in norms:
                norm.momentum = images / seen
            network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalisations of a network that keep running statistics."""
    return [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
