"""SGD with Nesterov momentum and AdamW, with weight decay on weights only."""

from typing import Any

import torch
from torch import nn

from headstart.params import Optimizer


def build_optimizer(
    network: nn.Module, optimizer: Optimizer, learning_rate: float
) -> torch.optim.Optimizer:
    """Return an optimiser of all parameters of a network that require gradients.

    Without momentum there is nothing for Nesterov's rule to look ahead along: plain SGD is used.
    Kernels are fused, one pass over all parameters.
    """
    groups = parameter_groups(network, optimizer.weight_decay, optimizer.decay_head)
    if optimizer.name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, betas=optimizer.betas, fused=True)
    return torch.optim.SGD(
        groups,
        lr=learning_rate,
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov and optimizer.momentum > 0,
        fused=True,
    )


def parameter_groups(
    network: nn.Module, weight_decay: float, decay_head: bool = True
) -> list[dict[str, Any]]:
    """Split parameters into those that decay, and those that do not.

    Norms and biases (all parameters of one dimension or none) never decay, nor what a module lists
    in its `no_weight_decay()`, as timm's models do with position embeddings and class tokens, nor
    the head without `decay_head`.
    """
    listed = _listed(network) | (set() if decay_head else {"head.weight"})
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (free if parameter.ndim <= 1 or name in listed else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _listed(network: nn.Module) -> set[str]:
    """Return the full names of all parameters that modules list in `no_weight_decay()`."""
    names = set()
    for prefix, module in network.named_modules():
        listing = getattr(module, "no_weight_decay", None)
        if callable(listing):
            names |= {f"{prefix}.{name}" if prefix else name for name in listing()}
    return names
