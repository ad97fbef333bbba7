"""One source network, the images and inversions, and all that its runs share."""

from __future__ import annotations

from functools import cache

from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, Work
from headstart.metrics.stir import TargetGrams
from headstart.studies.backbones import Checkpoints, Pixels
from headstart.studies.inverted import Inverted
from headstart.studies.probes import probe_images
from headstart.studies.robustness import CorruptedImages
from headstart.studies.sections import invariance_of, model_of, task_of
from headstart.tasks.dataset import read
from headstart.tasks.task import make_task

PRETRAINED = "pretrained"
"""Where a run's name would stand, the network that runs start from."""
RUN = ("arm", "source_epoch", "target_seed")


class Subject:
    """One source network, the images, and everything that its runs share."""

    def __init__(self, job: Job, work: Work) -> None:
        self.job, self.work = job, work
        self.options, self.model = invariance_of(job.params), model_of(job.params)
        data = work.input("data")
        data.file("images.safetensors")
        self.task = make_task(job.wildcards["target"], task_of(job.params), read(data.path))
        self.probes = probe_images(self.task, self.options.inversions)
        self.shape = self.probes.pixels.shape
        self.source = self.checkpoints(work.input("pretrain"))
        self.inverted = {
            tuple(one.manifest["wildcards"][name] for name in RUN): Inverted(
                one, self.options.inversions, self.options.inversions.batch_size
            )
            for one in work.inputs["inversions"]
        }
        self.corrupted = CorruptedImages(self.task, self.options.robustness)
        self.pretrained_grams = cache(self._pretrained_grams)

    def checkpoints(self, artifact: Artifact) -> Checkpoints:
        """Return the checkpoints of a network of this model."""
        return Checkpoints(artifact, self.model, self.shape, self.work.device)

    def pixels(self, checkpoints: Checkpoints, epoch: int) -> Pixels:
        """Return a checkpoint as a function of pixels, for the layers that are compared."""
        return checkpoints.pixels(epoch, self.options.inversions.layers)

    def inversions(self, arm: str, source_epoch: str, target_seed: str) -> Inverted:
        """Return the stored inversions of a run, or of the network that runs start from."""
        return self.inverted[arm, source_epoch, target_seed]

    def _pretrained_grams(self, source_epoch: str, kind: str) -> TargetGrams:
        epoch = self.source.epoch(source_epoch)
        network = self.pixels(self.source, epoch)
        return self.inversions(PRETRAINED, source_epoch, "0").grams(
            network, self.probes, epoch, kind
        )
