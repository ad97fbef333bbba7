"""What a job of the joined study takes."""

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.steps.cost import Cost, asked
from headstart.tasks.nominal import task_size

RUNS = 3
"""From every start: two orders of the images, and random labels."""
INTERVENTIONS = 7


def joined(job: Job, params: CoreParams) -> Cost:
    """Return the cost of all runs of a source network, and of masked images and inversions of each start."""
    options, size = job.params["joined"], task_size(job.wildcards["target"], params)
    training, chosen = job.params["training"], options["intervention"]
    starts = 1 + len(options["source_epochs"])
    changed = INTERVENTIONS * (1 + chosen["tuned"]) if chosen else 0
    shots, epochs = options["shots"], training["epochs"]
    images = size.images if shots == "all" else min(size.images, shots * size.classes)
    slots, trained = job.params["slots"] or 1, RUNS * starts + changed
    made = -(-trained // slots) * slots
    masks = 2 ** (options["rows"] * options["columns"])
    inverted = 2 * options["inversions"]["images"] * options["inversions"]["steps"]
    removed = 3 * chosen["steps"] * chosen["batch_size"] if chosen else 0
    masked = (3 * starts + changed) * options["images"] * masks
    return asked(
        job,
        params,
        "target",
        runs=trained,
        disk=300 * starts,
        batch=training["batch_size"],
        slots=slots,
        trained=made * epochs * images + (starts - 1) * inverted + removed,
        evaluated=made * ((epochs + 1) * size.validation + size.test) + masked,
    )
