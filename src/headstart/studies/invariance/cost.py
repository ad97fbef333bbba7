"""What a job of the invariance study takes."""

from dataclasses import replace

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.steps.cost import Cost, asked
from headstart.studies.invariance.params import Invariance, Inversions
from headstart.tasks.nominal import task_size


def inversions(job: Job, params: CoreParams) -> Cost:
    """Return the cost of inverted images: a step goes up half of the network on average, and back."""
    from headstart.studies.invariance.inversions import optimizer_of

    options = Inversions.model_validate(job.params["inversions"])
    layers = _layers(job, options)
    networks = len(job.params["epochs"])
    images = networks * options.images * len(options.seeds) * len(options.kinds) * layers
    size = task_size(job.wildcards["target"], params)
    itemsize = 2 if options.precision == "float16" else 4
    return asked(
        job,
        params,
        "target",
        runs=networks,
        files=3 + networks * len(options.seeds) * len(options.kinds),
        disk=images * size.pixels * itemsize,
        batch=options.batch_size,
        trained=images * optimizer_of(options).steps / 2,
    )


HELD = 18
"""Grams of all layers and seeds at once: on X, of each inverted layer itself, and half-samples of four networks;
those of one inverted layer in the making."""
ENTRIES = 6e7
"""Entries of Grams a second of one core that are centred and multiplied, in one form."""
PRODUCTS = 6e9
"""Entries of Grams, times half-samples, a second of one core: three products of each."""


def invariance(job: Job, params: CoreParams) -> Cost:
    """Return the cost of comparing runs: forward passes over X and X′ of every block, and half-samples.

    A set of Grams is that of one network on X and on X′ of one network. At the end of a run, and for each
    reading and kind of start, there are four, one behind the embedding and, for the reading that decides,
    one for every control and block; on the way, two at each epoch, four where learning is followed.
    """
    options = Invariance.model_validate(job.params["invariance"])
    inversions = options.inversions
    layers, seeds, kinds = _layers(job, inversions), len(inversions.seeds), len(inversions.kinds)
    readings, n = len(inversions.readings), inversions.images
    ended = on_the_way = robust = 0
    for run in job.inputs["trajectory"]:
        arm = run.wildcards["arm"]
        followed = len(options.dynamics.epochs)
        controls = sum(name == "random" or arm not in options.scratch for name in options.control)
        ended += kinds * (5 * readings + controls * layers)
        on_the_way += kinds * followed * (4 if arm in options.dynamics.learning else 2)
        corrupted = len(options.robustness.corruptions) * len(options.robustness.severities)
        robust += bool(corrupted) * (corrupted + 1) * (followed + 1) * options.robustness.images
    images = n * seeds * (1 + layers)
    entries = seeds * layers * (1 + layers) * n**2
    drawn = (ended + on_the_way) * 2 * entries / ENTRIES
    drawn += ended * entries * options.resamples / PRODUCTS
    on_source = 0
    if "source_data" in job.inputs:
        on_source = 2 * task_size(job.wildcards["source"], params).test
    cost = asked(
        job,
        params,
        "target",
        runs=len(job.inputs["trajectory"]),
        files=5,
        disk=40_000 + 25_000 * len(job.inputs["trajectory"]),
        batch=inversions.batch_size,
        evaluated=(ended + on_the_way) * images
        + robust
        + on_source * len(job.inputs["trajectory"]),
        seconds=drawn,
    )
    assert cost.size
    # X of all seeds, X′ of one seed and layer.
    pixels = n * cost.size.pixels * (4 * seeds + (2 if inversions.precision == "float16" else 4))
    return replace(cost, held=cost.held + pixels + HELD * 8 * seeds * layers * n**2)


def _layers(job: Job, options: Inversions) -> int:
    return len(options.layers) or job.params["model"].get("kwargs", {}).get("depth", 12)
