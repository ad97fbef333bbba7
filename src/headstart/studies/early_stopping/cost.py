"""What a job of the early-stopping study takes."""

from collections import Counter

from headstart.artifacts.keys import Job
from headstart.params.core import CoreParams
from headstart.steps.cost import ROW, Cost, asked, recalibrated
from headstart.tasks.nominal import task_size


def transfer(job: Job, params: CoreParams) -> Cost:
    """Return the cost of a bundle of runs; a probe's backbone sees every image once per run."""
    options, size = job.params["transfer"], task_size(job.wildcards["target"], params)
    epochs, probe = options["epochs"], options["mode"] == "probe"
    tested = epochs if options["test_epochs"] == "all" else len(options["test_epochs"])
    runs: Counter[int | str] = Counter()
    for grid in (options, *options["also"]):
        each = len(grid["source_epochs"]) * len(options["draws"]) * len(grid["learning_rates"])
        runs.update(dict.fromkeys(grid["shots"], each))
    slots, trained, evaluated = options["slots"] or 1, 0, 0
    for shots, asked_for in runs.items():
        # What is left of the slots is filled up.
        each = -(-asked_for // slots) * slots
        images = size.images if shots == "all" else min(size.images, int(shots) * size.classes)
        trained += 0 if probe else each * epochs * images
        evaluated += each * images
        shown = size.validation + recalibrated(options, images)
        evaluated += each * (1 if probe else epochs + 1) * shown
        evaluated += each * (1 if probe else tested + 1) * size.test
    return asked(
        job,
        params,
        "target",
        runs=runs.total(),
        files=3,
        checkpoints={"none": 0, "best": 1, "all": runs.total()}[options["keep"]],
        disk=runs.total() * (200 + ROW // 4 * epochs),
        batch=options["batch_size"],
        slots=slots,
        trained=trained,
        evaluated=evaluated,
    )


def plasticity(job: Job, params: CoreParams) -> Cost:
    """Return the cost of measuring every checkpoint: some passes of every task, gradients, random labels."""
    options = job.params["plasticity"]
    checkpoints = len(job.inputs["pretrain"][0].params["keep"]) + 1
    probe, source = options["random_labels"], job.wildcards["source"]
    # All of them, where a task has fewer than are asked for.
    held = {name: task_size(name, params).validation for name in job.params["tasks"]}
    images = checkpoints * sum(min(options["images"], each) for each in held.values())
    batch = min(probe["batch_size"], probe["images"], held[source])
    return asked(
        job,
        params,
        "source",
        runs=checkpoints,
        batch=max(batch, 1),
        trained=images + checkpoints * probe["steps"] * batch,
        evaluated=3 * images,
    )


def scores(job: Job, params: CoreParams) -> Cost:
    """Return the cost of showing every start the images of its cells: those trained on, and validation images."""
    passes, images, held = 0, 0, 0
    for target, grids in job.params["scores"]["cells"].items():
        size = task_size(target, params)
        for grid in grids:
            each = len(grid["source_epochs"]) * len(grid["draws"])
            for shots in grid["shots"]:
                trained = (
                    size.images if shots == "all" else min(size.images, int(shots) * size.classes)
                )
                passes += each
                images += each * trained
                held += each * size.validation
    return asked(
        job,
        params,
        "source",
        runs=passes,
        batch=EVALUATED,
        # The head's chances are a second pass of features through it alone.
        evaluated=images + held,
        disk=passes * ROW,
    )


EVALUATED = 256
"""Images of a pass without updates."""
