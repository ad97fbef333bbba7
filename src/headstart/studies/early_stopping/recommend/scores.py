"""What is read of a checkpoint before anything is trained on the target: one pass over few images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from headstart.metrics.transferability import knn_probe, leep, logme, ridge_probe
from headstart.tasks.batches import EvaluationBatches, Normalization
from headstart.tasks.task import LabelledImages, TrainImages, ValidationImages
from headstart.training.assembly import EVALUATION_BATCH
from headstart.training.checkpoint_series import CheckpointSeries

SCORES = ("logme", "leep", "ridge_probe", "knn_probe", "source_accuracy", "distance")
"""Columns of `score_table`, beside `source_epoch`."""


def score_table(
    series: CheckpointSeries,
    epochs: Sequence[int],
    train: TrainImages,
    held: ValidationImages,
    normalization: Normalization,
) -> pd.DataFrame:
    """Return one row per epoch with the scores of `SCORES`, in the order of `epochs`.

    LogME and LEEP read the training images, the probes learn from them and are read on validation images.
    Distance is that of the weights from the first checkpoint's. A checkpoint whose features are not finite
    has NaN.
    """
    accuracy = source_accuracies(series)
    rows = []
    for epoch in epochs:
        network = series.classifier(epoch)
        features = _features(network.backbone, train, normalization, series.device)
        others = _features(network.backbone, held, normalization, series.device)
        with torch.inference_mode():
            chances = network.head(features).softmax(1)
        row = _scores(features, train.labels, others, held.labels, chances.cpu())
        row |= {"source_accuracy": accuracy.get(epoch, math.nan)}
        row |= {"distance": float(series.entry(epoch)["distance"])}
        rows.append({"source_epoch": epoch, **row})
    return pd.DataFrame(rows)


def source_accuracies(series: CheckpointSeries) -> dict[int, float]:
    """Return the validation accuracy on the source after each epoch."""
    history = pd.read_parquet(series.artifact.file("history.parquet"))
    return dict(zip(history["epoch"], history["validation_accuracy"], strict=True))


def _scores(
    features: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor, chances: Tensor
) -> dict[str, float]:
    features, held = features.cpu(), held.cpu()
    if not (features.isfinite().all() and held.isfinite().all()):
        return dict.fromkeys(("logme", "leep", "ridge_probe", "knn_probe"), math.nan)
    return {
        "logme": logme(features, labels),
        "leep": leep(chances, labels),
        "ridge_probe": ridge_probe(features, labels, held, held_labels),
        "knn_probe": knn_probe(features, labels, held, held_labels),
    }


def _features(
    backbone: torch.nn.Module,
    images: LabelledImages,
    normalization: Normalization,
    device: str,
) -> Tensor:
    batches = EvaluationBatches(images, normalization, EVALUATION_BATCH, device)  # type: ignore[arg-type]
    with torch.inference_mode():
        return torch.cat([backbone(inputs) for inputs, _ in batches])
