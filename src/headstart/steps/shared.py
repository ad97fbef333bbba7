"""The steps that every study needs: those that make networks to look into, and those that a person reads."""

from headstart.steps.step import Step

PRETRAINED = ("datasets", "tasks", "models", "pretrain")
TRAINED = (*PRETRAINED, "trajectory")

FIRST = (
    Step("data", "headstart.steps.data:make", sections=("datasets",)),
    # Builds every network once, and asks for the device that networks will train on.
    Step(
        "check",
        "headstart.steps.check:make",
        reads=("data",),
        sections=(*TRAINED, "runtime"),
        versioned=False,
        gpu=False,
        memory_mb=8000,
    ),
    # Long jobs first, so that no core is left without work at the end.
    Step(
        "pretrain",
        "headstart.steps.pretrain:make",
        reads=("data",),
        sections=PRETRAINED,
        after=("check",),
        gpu=True,
        priority=20,
        memory_mb=16000,
        minutes=1440,
    ),
    # What later steps look into comes before what ends in a table.
    Step(
        "trajectory",
        "headstart.steps.trajectory:make",
        reads=("data", "pretrain"),
        sections=TRAINED,
        after=("check",),
        gpu=True,
        priority=15,
        memory_mb=16000,
        minutes=1440,
    ),
)

# Which artifacts tables read, the studies say.
LAST = (
    # At once: the longest figures should not be the last to start.
    Step("tables", "headstart.steps.tables:make", versioned=False, priority=12),
    Step("claims", "headstart.steps.claims:make", reads=("tables",), versioned=False),
    # Kernels that start at the same moment can claim the same port.
    Step(
        "figures",
        "headstart.steps.figures:make",
        reads=("tables",),
        sections=("figures",),
        versioned=False,
        retries=1,
    ),
    Step(
        "report",
        "headstart.steps.report:make",
        reads=("tables", "figures", "claims"),
        sections=("figures",),
        versioned=False,
    ),
    Step(
        "publish",
        "headstart.steps.publish:publish",
        reads=("figures", "report", "claims"),
        sections=("figures",),
        versioned=False,
    ),
)
