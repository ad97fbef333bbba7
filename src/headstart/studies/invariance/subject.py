"""One source network, the images and inversions, and all that its runs share."""

from __future__ import annotations

from functools import cache

from headstart.artifacts.keys import Job
from headstart.artifacts.store import Artifact, JobContext
from headstart.metrics.representations.stir import TargetGrams
from headstart.steps.sections import model_of, read_task
from headstart.studies.invariance.inverted import Inverted
from headstart.studies.invariance.params import Invariance
from headstart.studies.invariance.reference_images import draw_reference_images
from headstart.studies.invariance.robustness import CorruptedImages
from headstart.training.checkpoint_series import CheckpointSeries, Pixels

PRETRAINED = "pretrained"
"""Where a run's name would stand, the network that runs start from."""
RUN = ("arm", "source_epoch", "target_seed")


class Subject:
    """One source network, the images, and everything that its runs share."""

    def __init__(self, job: Job, context: JobContext) -> None:
        self.job, self.context = job, context
        self.options, self.model = (
            Invariance.model_validate(job.params["invariance"]),
            model_of(job.params),
        )
        self.task = read_task(job.wildcards["target"], job.params, context.input("data"))
        self.probes = draw_reference_images(self.task, self.options.inversions)
        self.shape = self.probes.pixels.shape
        self.source = self.checkpoints(context.input("pretrain"))
        self.inverted = {
            tuple(one.manifest["wildcards"][name] for name in RUN): Inverted(
                one, self.options.inversions, self.options.inversions.batch_size
            )
            for one in context.inputs["inversions"]
        }
        self.corrupted = CorruptedImages(self.task, self.options.robustness)
        self.pretrained_grams = cache(self._pretrained_grams)

    def checkpoints(self, artifact: Artifact) -> CheckpointSeries:
        """Return the checkpoints of a network of this model."""
        return CheckpointSeries(artifact, self.model, self.shape, self.context.device)

    def pixels(self, checkpoints: CheckpointSeries, epoch: int) -> Pixels:
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
