"""Accuracy of checkpoints under corruption: the same corrupted images for every network."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.seeds import derive_seed
from headstart.metrics.representations.corruptions import corrupt
from headstart.networks.network import Network
from headstart.studies.invariance.params import Robustness
from headstart.tasks.batches import EvaluationBatches, Normalization
from headstart.tasks.task import Task, TestImages
from headstart.training.assembly import EVALUATION_BATCH
from headstart.training.evaluation import evaluate

CLEAN = "clean"


class CorruptedImages:
    """Test images of a task, clean and under every corruption and severity, as 8-bit pixels."""

    def __init__(self, task: Task, options: Robustness) -> None:
        generator = torch.Generator().manual_seed(derive_seed("robustness images", task.name))
        chosen = torch.randperm(len(task.test.labels), generator=generator)[: options.images]
        test = task.test
        self.clean = TestImages(test.images[chosen], test.labels[chosen], test.classes)
        self.variants = {(CLEAN, 0): self.clean} | {
            (name, severity): self._corrupted(name, severity)
            for name in options.corruptions
            for severity in options.severities
        }

    def accuracy(self, network: Network, normalization: Normalization, device: str) -> pd.DataFrame:
        """Return one row per corruption and severity: corruption, severity, value, n."""
        rows = list(self._measured(network, normalization, device))
        return pd.DataFrame(rows, columns=["corruption", "severity", "value", "n"])

    def _measured(
        self, network: Network, normalization: Normalization, device: str
    ) -> Iterator[tuple[str, int, float, int]]:
        for (name, severity), images in self.variants.items():
            batches = EvaluationBatches(images, normalization, EVALUATION_BATCH, device)
            yield name, severity, evaluate(network, batches).accuracy, len(images.labels)

    def _corrupted(self, name: str, severity: int) -> TestImages:
        generator = torch.Generator().manual_seed(derive_seed("corruption", name, severity))
        pixels: Tensor = corrupt(self.clean.images.float() / 255, name, severity, generator)
        # As in the published sets, corrupted images are pictures of 8 bits.
        stored = (pixels * 255).round().to(torch.uint8)
        return TestImages(stored, self.clean.labels, self.clean.classes)
