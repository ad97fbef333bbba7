"""The first target epochs of fine-tuning from a checkpoint, which can go on later where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from headstart.params.recipe import Selection
from headstart.studies.early_stopping.params import Transfer
from headstart.studies.early_stopping.recommend.atlas import EARLY
from headstart.tasks.batches import EvaluationBatches, TrainBatches
from headstart.training.assembly import EVALUATION_BATCH, RunImages, RunSeeds
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.optimizers import Updates
from headstart.training.records import EpochRecord
from headstart.training.run import Run, read_state, write_state


class ShortRuns:
    """Trains candidates as `transfer` would, for their first epochs only; test images are not read.

    Memory holds one network, whatever the number of candidates: the states of the others are in files.
    """

    def __init__(
        self,
        series: CheckpointSeries,
        images: RunImages,
        options: Transfer,
        seeds: RunSeeds,
        folder: Path,
        report: Callable[[str], None],
    ) -> None:
        """Prepare runs on the training images of `images`; validation images are those of its task.

        States wait in an existing folder, which the caller deletes.
        """
        self.series, self.options, self.report = series, options, report
        self.training_seed = seeds.of("training")
        shared = (series.device, options.channels_last)
        self.train = TrainBatches(
            images.train,
            images.normalization,
            options.batch_size,
            options.augmentation,
            series.device,
            seeds.of(seeds.purpose),
            options.channels_last,
        )
        self.validation = EvaluationBatches(
            images.task.validation, images.normalization, EVALUATION_BATCH, *shared
        )
        self.classes = len(images.task.classes)
        self._folder = folder
        self._epochs: dict[tuple[int, float], int] = {}

    @property
    def target_epochs(self) -> int:
        """Return how many target epochs were trained so far, of all candidates together."""
        return sum(self._epochs.values())

    def __call__(self, rows: pd.DataFrame, epochs: int) -> pd.DataFrame:
        """Return rows with what was read after each of the first epochs, as columns of `EARLY`."""
        found = []
        for number, (_, row) in enumerate(rows.iterrows(), 1):
            history = self._history(int(row["source_epoch"]), float(row["learning_rate"]), epochs)
            found.append(
                {
                    f"{name}_{record.epoch}": getattr(record, name)
                    for record in history[1:]
                    for name in EARLY
                }
            )
            self.report(
                f"{number}/{len(rows)}  source epoch {row['source_epoch']}, rate "
                f"{row['learning_rate']:g}, {epochs} target epochs: validation "
                f"{history[-1].validation_accuracy:.1%}, training loss {history[-1].train_loss:.3g}"
            )
        early = pd.DataFrame(found, index=rows.index)
        return rows.drop(columns=early.columns, errors="ignore").join(early)

    def _history(self, source_epoch: int, rate: float, epochs: int) -> list[EpochRecord]:
        """Train until so many epochs are done, from where the run stopped, and return all records."""
        network = self.series.start(source_epoch, self.classes, self.options.head_seed)
        updates = Updates(network, self.train, self.options, rate, self.training_seed)
        run = Run(updates, self.validation, None, Selection(), ())
        path = self._folder / f"{source_epoch}-{rate!r}.pt"
        state: dict[str, Any] | None = read_state(path, run.identity(), updates.device)
        if state:
            run.restore(state)
        devices = [updates.device] if updates.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            while run.epoch <= epochs:
                run.advance()
        write_state(path, run.identity(), run.state())
        self._epochs[source_epoch, rate] = run.epoch - 1
        return run.slots[0].history
