"""The updates of an epoch, by SGD with Nesterov momentum or AdamW, with weight decay on weights only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from headstart.artifacts.keys import derive_seed
from headstart.networks.network import Network
from headstart.networks.stacked import Stacked
from headstart.params.recipe import Optimizer as OptimizerParams
from headstart.params.recipe import Training
from headstart.training import TrainingError
from headstart.training.device import compiled, seed_generators
from headstart.training.evaluation import CLASSIFICATION, Evaluation, Objective, Tally, device_of
from headstart.training.records import TrainingBatches
from headstart.training.rules import learning_rate

ADAMW_EPSILON = 1e-8


def build_optimizer(network: nn.Module, optimizer: OptimizerParams) -> Optimizer:
    """Return an optimiser of all parameters of a network that require gradients."""
    groups = parameter_groups(network, optimizer.weight_decay, optimizer.decay_head)
    return (AdamW if optimizer.name == "adamw" else SGD)(groups, optimizer)


class Optimizer(ABC):
    """Updates by torch's fused kernels, one pass over the parameters of a group.

    The updates are those of `torch.optim`'s classes, bit for bit. Those load torch's compiler, which
    takes longer than torch itself, and look every parameter up again at each step.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], options: OptimizerParams) -> None:
        self.groups, self.options = groups, options
        self.state = [[self._fresh(each) for each in group["params"]] for group in groups]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, rate: Any) -> None:
        """Update every parameter that has a gradient."""
        for group, state in zip(self.groups, self.state, strict=True):
            rows = zip(group["params"], state, strict=True)
            moving = [(each, each.grad, *own) for each, own in rows if each.grad is not None]
            if moving:
                lists = [list(tensors) for tensors in zip(*moving, strict=True)]
                self._update(lists, rate, group["weight_decay"])

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` reads."""
        return {"state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the state of an optimiser of the same parameters."""
        self.state = state["state"]

    @abstractmethod
    def _fresh(self, parameter: Tensor) -> list[Tensor]:
        """Return the state of a parameter before the first step."""

    @abstractmethod
    def _update(self, lists: list[list[Tensor]], rate: Any, weight_decay: float) -> None:
        """Move parameters, given these, their gradients and each tensor of their state."""


class SGD(Optimizer):
    """Gradient descent; without momentum there is nothing for Nesterov's rule to look ahead along."""

    def _fresh(self, parameter: Tensor) -> list[Tensor]:
        return [torch.zeros_like(parameter)]

    def _update(self, lists: list[list[Tensor]], rate: Any, weight_decay: float) -> None:
        parameters, gradients, momenta = lists
        sgd(
            parameters,
            gradients,
            [*momenta],
            fused=True,
            weight_decay=weight_decay,
            momentum=self.options.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=self.options.nesterov and self.options.momentum > 0,
            maximize=False,
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def _fresh(self, parameter: Tensor) -> list[Tensor]:
        steps = torch.zeros((), device=parameter.device)
        return [torch.zeros_like(parameter), torch.zeros_like(parameter), steps]

    def _update(self, lists: list[list[Tensor]], rate: Any, weight_decay: float) -> None:
        parameters, gradients, means, squares, steps = lists
        adamw(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=self.options.betas[0],
            beta2=self.options.betas[1],
            lr=rate,
            weight_decay=weight_decay,
            eps=ADAMW_EPSILON,
            maximize=False,
        )


def parameter_groups(
    network: nn.Module, weight_decay: float, decay_head: bool = True
) -> list[dict[str, Any]]:
    """Split parameters into those that decay, and those that do not.

    Norms and biases (all parameters of one dimension or none) never decay, nor what a module lists
    in its `no_weight_decay()`, as timm's models do with position embeddings and class tokens, nor
    the head without `decay_head`. Stacked networks have one more dimension.
    """
    stacked = isinstance(network, Stacked)
    one = network.body if isinstance(network, Stacked) else network
    named = network.weights() if isinstance(network, Stacked) else dict(network.named_parameters())
    listed = _listed(one) | (set() if decay_head else {"head.weight"})
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in named.items():
        if parameter.requires_grad:
            vector = parameter.ndim <= 1 + stacked
            (free if vector or name in listed else decayed).append(parameter)
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


class Updates:
    """A network, its optimiser and its training batches."""

    def __init__(
        self,
        network: Network,
        train: TrainingBatches,
        training: Training,
        rate: float,
        seed: int,
        objective: Objective = CLASSIFICATION,
    ) -> None:
        self.network, self.device, self.train = network, device_of(network), train
        self.training, self.objective = training, objective
        self.rates: tuple[float, ...] = (rate,)
        self.seeds: tuple[int, ...] = (seed,)
        for key, value, instead in (
            ("precision", "bfloat16", "float32"),
            ("compile", "cuda_graphs", "true or false"),
        ):
            if getattr(training, key) == value and self.device.type != "cuda":
                raise TrainingError(
                    f"{key}: {value!r} needs CUDA, the device is {self.device.type}; use {instead}"
                )
        if training.channels_last and not isinstance(network, Stacked):
            network.to(memory_format=torch.channels_last)
        # Compiling changes the forward pass only: the network keeps its parameters and their names.
        graphs = training.compile == "cuda_graphs"
        self.forward = compiled(network, cuda_graphs=graphs) if training.compile else network
        self.optimizer = self._build_optimizer()

    def rates_at(self, epoch: int, step: int) -> list[float]:
        """Return each run's learning rate at the middle of a step of an epoch, both counted from 0."""
        position = epoch + (step + 0.5) / self.train.steps
        schedule, epochs = self.training.schedule, self.training.epochs
        return [learning_rate(schedule, rate, position, epochs) for rate in self.rates]

    def epoch(self, epoch: int) -> list[Evaluation]:
        """Do the updates of an epoch, counted from 0; return loss and accuracy of each run on the way.

        Sums stay on the device until the end, so that it never waits for the host.
        """
        self._seed(epoch)
        self.network.train()
        tally = Tally(self.device, self.objective.classifies)
        batches = zip(self.train.epoch(epoch), self._rates_of_steps(epoch), strict=True)
        for (inputs, labels), rate in batches:
            self._step(inputs, labels, rate, tally)
        return tally.read()

    def _build_optimizer(self) -> Optimizer:
        return build_optimizer(self.network, self.training.optimizer)

    def _seed(self, epoch: int) -> None:
        seed_generators(derive_seed("epoch", self.seeds[0], epoch), self.device)

    def _rates_of_steps(self, epoch: int) -> list[Any]:
        return [self.rates_at(epoch, step)[0] for step in range(self.train.steps)]

    def _clip(self, limit: float) -> None:
        nn.utils.clip_grad_norm_(self.network.parameters(), limit)

    def _step(self, inputs: Tensor, labels: Tensor, rate: Any, tally: Tally) -> None:
        if self.training.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        low = self.training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits = self.forward(inputs)
        logits = logits.float() if low else logits
        loss = self.objective.loss(logits, inputs, labels, self.training.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward(torch.ones_like(loss))
        if self.training.clip_norm is not None:
            self._clip(self.training.clip_norm)
        self.optimizer.step(rate)
        tally.add(logits, labels, loss.detach() * labels.shape[-1])
