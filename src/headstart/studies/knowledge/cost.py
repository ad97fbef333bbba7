"""What a job of the knowledge study takes."""

from math import comb

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.steps.cost import Cost, asked
from headstart.studies.knowledge.params import Analysis, Scores

# Seconds of a source network at one source epoch, and at one target epoch of its learning dynamics, for each
# value of a network: the default's comparisons, of 32,768 values each, took 36.0 s (4 networks, 3 source epochs,
# 9 target epochs) and 16.3 s (3, 1, 8).
COMPARED, FOLLOWED = 1.54 / 32_768, 0.49 / 32_768
# Numbers that a second reads of the design, of which a fit reads the whole for every term that it takes.
FITTED = 1.5e9


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


def knowledge(job: Job, _: CoreParams) -> Cost:
    """Return the cost of comparing the values of all networks, which are held in float64, in three bases."""
    roles, inputs = job.params["roles"], job.inputs["values"]
    scores = Scores.model_validate(inputs[0].params["scores"])
    n, order = scores.players.count, Analysis.model_validate(job.params["analysis"]).max_order
    terms = 2**n if scores.masks is None else sum(comb(n, m) for m in range(order + 1))
    seeds = len({one.wildcards["seed"] for one in inputs})
    networks = sum(len(epochs) for one in inputs for epochs in one.params["epochs"])
    followed = len(roles["followed"]) * len(roles["target_epochs"])
    compared = COMPARED * len(roles["init_epochs"]) + FOLLOWED * followed
    each, masks = scores.images * terms, scores.masks or 0
    # At most as many terms as a third of the masks, each told by the columns and by all networks.
    fit = each * masks / 3 * (masks + networks) / FITTED
    return Cost(
        runs=networks,
        files=6 + (masks > 0),
        disk=20_000
        + 13_000 * seeds * (order if masks else n) * len(roles["init_epochs"])
        + 8 * scores.images * networks * masks / 3,
        held=3 * 8 * networks * each,
        seconds=seeds * each * compared + fit,
    )
