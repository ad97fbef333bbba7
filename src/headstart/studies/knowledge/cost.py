"""What a job of the knowledge study takes."""

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.steps.cost import Cost, asked
from headstart.studies.knowledge.params import Scores


def values(job: Job, params: CoreParams) -> Cost:
    """Return the cost of the values: every mask of every image, for every network."""
    scores = Scores.model_validate(job.params["scores"])
    # The last epoch is one of the listed ones.
    networks = sum(len(set(epochs) - {"last"}) for epochs in job.params["epochs"])
    masked = networks * scores.images * (scores.masks or 2**scores.players.count)
    return asked(
        job,
        params,
        "target",
        runs=networks,
        files=3 + networks,
        disk=4 * masked,
        batch=scores.chunk_size,
        evaluated=masked,
    )
