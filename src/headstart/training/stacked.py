"""Training of stacked networks: their batches, their updates, each with a learning rate and a seed of its own.

Nothing here mixes networks. No operation multiplies and adds in one kernel, because on the CPU that is rounded
once in the body of a vector loop and twice at its end, so that a network's bits would depend on its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from headstart.artifacts.keys import derive_seed
from headstart.networks.stacked import Stacked
from headstart.params.recipe import Training
from headstart.training.optimizers import ADAMW_EPSILON, SGD, AdamW, Updates, parameter_groups
from headstart.training.records import Batch, TrainingBatches

Tensors = list[Tensor] | tuple[Tensor, ...]


class StackedBatches:
    """The batches of K runs, [K, b, ...]: both protocols. Runs that share their images share the work."""

    def __init__(self, parts: Sequence[Any]) -> None:
        distinct = {id(part): part for part in parts}
        self._distinct = list(distinct.values())
        self._rows = [list(distinct).index(id(part)) for part in parts]
        self.num_images: int = parts[0].num_images
        self.num_classes: int = getattr(parts[0], "num_classes", 0)
        self.steps: int = getattr(parts[0], "steps", 0)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield (inputs [K, b, ...], labels [K, b]) of each step of an epoch."""
        return self._together([part.epoch(epoch) for part in self._distinct])

    def __iter__(self) -> Iterator[Batch]:
        """Yield (inputs [K, b, ...], labels [K, b]) of each batch for evaluation."""
        return self._together([iter(part) for part in self._distinct])

    def _together(self, streams: list[Iterator[Batch]]) -> Iterator[Batch]:
        for batches in zip(*streams, strict=True):
            inputs, labels = zip(*(batches[row] for row in self._rows), strict=True)
            if len(streams) == 1:
                slots = len(self._rows)
                yield inputs[0].expand(slots, *inputs[0].shape), labels[0].expand(slots, -1)
            else:
                yield torch.stack(inputs), torch.stack(labels)


class StackedUpdates(Updates):
    """Stacked networks, their optimiser and their batches; rates and seeds are one per network."""

    network: Stacked  # type: ignore[assignment]

    def __init__(
        self,
        network: Stacked,
        train: TrainingBatches,
        training: Training,
        rates: Sequence[float],
        seeds: Sequence[int],
    ) -> None:
        super().__init__(network, train, training, rates[0], seeds[0])  # type: ignore[arg-type]
        self.rates, self.seeds = tuple(rates), tuple(seeds)

    def _build_optimizer(self) -> StackedSGD | StackedAdamW:
        options = self.training.optimizer
        groups = parameter_groups(self.network, options.weight_decay, options.decay_head)
        return (StackedAdamW if options.name == "adamw" else StackedSGD)(groups, options)

    def _seed(self, epoch: int) -> None:
        self.network.seed([derive_seed("epoch", seed, epoch) for seed in self.seeds])

    def _rates_of_steps(self, epoch: int) -> list[Any]:
        rates = [self.rates_at(epoch, step) for step in range(self.train.steps)]
        return list(torch.tensor(rates).to(self.device))

    def _clip(self, limit: float) -> None:
        """Scale the gradient of each network down to a norm, as `clip_grad_norm_` does."""
        gradients = [each.grad for each in self.network.weights().values() if each.grad is not None]
        norms = [torch.linalg.vector_norm(each.flatten(1), dim=1) for each in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms, 1), dim=1)
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, _for_each(factor, gradients))


class StackedSGD(SGD):
    """Gradient descent at rates [K]."""

    def _update(self, lists: list[list[Tensor]], rate: Any, weight_decay: float) -> None:
        parameters, gradients, momenta = lists
        steps: Tensors = gradients
        if weight_decay:
            torch._foreach_add_(gradients, torch._foreach_mul(parameters, weight_decay))
        momentum = self.options.momentum
        if momentum:
            torch._foreach_mul_(momenta, momentum)
            torch._foreach_add_(momenta, steps)
            ahead = torch._foreach_mul(momenta, momentum)
            steps = torch._foreach_add(steps, ahead) if self.options.nesterov else momenta
        _move(parameters, steps, rate)


class StackedAdamW(AdamW):
    """AdamW at rates [K]."""

    def _update(self, lists: list[list[Tensor]], rate: Any, weight_decay: float) -> None:
        parameters, gradients, means, squares, counts = lists
        torch._foreach_add_(counts, 1)
        first, second = self.options.betas
        for averages, values, share in (
            (means, gradients, first),
            (squares, torch._foreach_mul(gradients, gradients), second),
        ):
            torch._foreach_mul_(averages, share)
            torch._foreach_add_(averages, torch._foreach_mul(values, 1 - share))
        corrections = [1 - share ** counts[0].double() for share in self.options.betas]
        scales = torch._foreach_div(torch._foreach_sqrt(squares), corrections[1].sqrt())
        torch._foreach_add_(scales, ADAMW_EPSILON)
        if weight_decay:
            torch._foreach_mul_(parameters, _for_each(1 - rate * weight_decay, parameters))
        _move(parameters, torch._foreach_div(means, scales), rate / corrections[0])


def _move(parameters: list[Tensor], steps: Tensors, rates: Tensor) -> None:
    torch._foreach_sub_(parameters, torch._foreach_mul(steps, _for_each(rates, parameters)))


def _for_each(values: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return values [K] in shapes that multiply tensors [K, ...]."""
    return [values.view(-1, *(1,) * (each.ndim - 1)) for each in tensors]
