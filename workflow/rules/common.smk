"""The plan that all rules read, the shell line that all jobs share, and what is said at the end."""

import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from headstart.params import ParamsError, load
from headstart.plan import Plan, comes_after, manifests, needs
from headstart.upkeep import warm
from headstart.upkeep.housekeeping import check_folders, publish_stamp, snapshot

PARAMS = Path("params.yaml")
try:
    check_folders()
    PLAN = Plan(load(PARAMS))
    # Jobs read the params as they are now, even if somebody edits the file while they wait.
    SNAPSHOT = snapshot(PARAMS)
except ParamsError as error:
    raise WorkflowError(str(error)) from None
except OSError as error:
    raise WorkflowError(
        f"{error.filename}: {error.strerror}; check that this folder can be written"
    ) from None

HEADSTART = f"{shlex.quote(sys.executable)} -m headstart"
# A job asks for a GPU where there is one and the params do not forbid it; the profile caps their number.
GPU = int(
    PLAN.params.runtime.device != "cpu" and Path("/proc/driver/nvidia/version").exists()
)


wildcard_constraints:
    key="[0-9a-f]{12}",
    dataset="[a-z0-9_]+",
    source="[a-z0-9_]+",
    model="[a-z0-9_]+",
    target="[a-z0-9_]+",
    arm="[a-z0-9_]+",
    source_epoch="[0-9]+|best",
    seed="[0-9]+",
    target_seed="[0-9]+",


def load_torch_once():
    """Start a process that loads what most jobs need, for them to fork from; see upkeep/warm.py.

    Not beside a GPU, whose driver does not like forks, nor for a handful of jobs.
    """
    missing = sum(not job.manifest.exists() for job in PLAN.jobs())
    if not GPU and missing > 8:
        timm = any(model.kind == "timm" for model in PLAN.params.models.values())
        warm.start(["timm"] if timm else [])


def say_where_to_look():
    """Tell the person who waited where to look, and how to record what was made."""
    if any(Path("figures").glob("*.png")):
        print(
            "\nThe figures are in figures/ : "
            + ", ".join(sorted(path.name for path in Path("figures").glob("*.png")))
        )
    if Path("report.html").exists():
        print("The report, with figures, verdicts and claims on one page: report.html")
    if "DVC_STAGE" not in os.environ:
        print("To record these results with DVC, run: dvc repro")


def say_where_the_logs_are():
    """Point at the logs of what went wrong; finished work is kept."""
    print(
        "\nA job failed; its lines above name the log in logs/. Finished jobs are kept: mend it and run again."
    )
