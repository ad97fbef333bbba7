"""The trained networks of a bundle's runs that the params ask to keep: none, the best by validation, or all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headstart.training.checkpoints import save
from headstart.training.records import State

if TYPE_CHECKING:
    from headstart.studies.early_stopping.transfer import Run

Keep = Literal["none", "best", "all"]
Records = Mapping["Run", Mapping[str, Any]]
FOLDER = "networks"


def network_file(run: Mapping[Any, Any]) -> str:
    """Return where an artifact of `transfer` holds the trained network of one of its runs."""
    epoch, rate = int(run["source_epoch"]), float(run["learning_rate"])
    return f"{FOLDER}/epoch{epoch:04d}-shots{run['shots']}-draw{run['draw']}-rate{rate}.safetensors"


def validated(record: Mapping[str, Any]) -> tuple[bool, float]:
    """Return what the best of several runs has most of: it did not diverge, and its validation accuracy."""
    return not record["diverged"], record["validation_accuracy"]


class KeptNetworks:
    """Writes networks as their runs end, and says which have to be trained for it once more."""

    def __init__(self, keep: Keep, folder: Path) -> None:
        self.keep, self.folder = keep, folder
        self.best: tuple[bool, float] | None = None

    def offer(self, run: Run, record: Mapping[str, Any], state: State) -> None:
        """Keep the weights of a run, or those of the best one so far."""
        if self.keep == "none" or (self.best is not None and validated(record) <= self.best):
            return
        path = self._path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.keep == "best":
            self.best = validated(record)
            for earlier in path.parent.iterdir():
                earlier.unlink()
        save(state, path)

    def lacking(self, records: Records) -> list[Run]:
        """Return the runs whose networks are to be kept and were not, as they ended before this was asked."""
        self.best = None
        return [run for run in self._chosen(records) if not self._path(run).exists()]

    def finish(self, records: Records, out: Path) -> None:
        """Put the networks into the artifact."""
        for run in self._chosen(records):
            path = out / network_file(asdict(run))
            path.parent.mkdir(exist_ok=True)
            self._path(run).replace(path)

    def _chosen(self, records: Records) -> list[Run]:
        if self.keep == "best":
            return [max(records, key=lambda run: validated(records[run]))]
        return list(records) if self.keep == "all" else []

    def _path(self, run: Run) -> Path:
        return self.folder / network_file(asdict(run))
