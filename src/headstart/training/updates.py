"""The updates of one epoch: batches in, moved weights and the loss on the way out."""

import torch
from torch import Tensor, nn

from headstart.artifacts.seeds import derive_seed
from headstart.networks.network import Network
from headstart.params.recipe import Training
from headstart.training import TrainingError
from headstart.training.device import compiled, seed_generators
from headstart.training.evaluation import Evaluation, Tally, device_of
from headstart.training.objectives import CLASSIFICATION, Objective
from headstart.training.optimizers import build_optimizer
from headstart.training.records import TrainingBatches
from headstart.training.rules import learning_rate


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
        self.training, self.rate, self.seed, self.objective = training, rate, seed, objective
        if training.precision == "bfloat16" and self.device.type != "cuda":
            raise TrainingError(
                f"precision: 'bfloat16' needs CUDA, the device is {self.device.type}; use float32"
            )
        if training.channels_last:
            network.to(memory_format=torch.channels_last)
        # Compiling changes the forward pass only: the network keeps its parameters and their names.
        self.forward = compiled(network) if training.compile else network
        self.optimizer = build_optimizer(network, training.optimizer)

    def rate_at(self, epoch: int, step: int) -> float:
        """Return the learning rate at the middle of a step of an epoch, both counted from 0."""
        position = epoch + (step + 0.5) / self.train.steps
        return learning_rate(self.training.schedule, self.rate, position, self.training.epochs)

    def epoch(self, epoch: int) -> Evaluation:
        """Do the updates of an epoch, counted from 0; return the loss and accuracy on the way.

        Sums stay on the device until the end, so that it never waits for the host.
        """
        seed_generators(derive_seed("epoch", self.seed, epoch), self.device)
        self.network.train()
        tally = Tally(self.device, self.objective.classifies)
        for step, (inputs, labels) in enumerate(self.train.epoch(epoch)):
            self._step(inputs, labels, self.rate_at(epoch, step), tally)
        return tally.read()

    def _step(self, inputs: Tensor, labels: Tensor, rate: float, tally: Tally) -> None:
        if self.training.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        low = self.training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits = self.forward(inputs)
        logits = logits.float() if low else logits
        loss = self.objective.loss(logits, inputs, labels, self.training.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        if self.training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip_norm)
        self.optimizer.step(rate)
        tally.add(logits, labels, loss.detach() * len(labels))
