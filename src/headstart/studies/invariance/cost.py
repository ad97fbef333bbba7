"""What a job of the invariance study takes."""

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.steps.cost import Cost, asked
from headstart.studies.invariance.params import Inversions
from headstart.tasks.nominal import task_size


def inversions(job: Job, params: CoreParams) -> Cost:
    """Return the cost of inverted images: a step goes up half of the network on average, and back."""
    from headstart.studies.invariance.inversions import optimizer_of

    options = Inversions.model_validate(job.params["inversions"])
    layers = len(options.layers) or job.params["model"].get("kwargs", {}).get("depth", 12)
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
