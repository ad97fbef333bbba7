"""The plan that all rules read, and what is said at the end."""

import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from headstart.artifacts.files import shared
from headstart.maintenance import fork_server
from headstart.maintenance.housekeeping import check_folders, publish_stamp, snapshot
from headstart.params.reading import ParamsError
from headstart.plan import (
    Plan,
    comes_after,
    log_of,
    manifests,
    needs,
    snakemake_output,
)
from headstart.registry import STEPS, load

PARAMS = Path("params.yaml")
# Of Snakemake's options; another study would be planned than the commands and DVC read.
if config:
    raise WorkflowError(
        f"--config and --configfile ({', '.join(map(str, config))}) are not read: this study is params.yaml; "
        "change it with `headstart set section.name=value` or `headstart use FILE`"
    )
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
# On a cluster the head node may have none: `export HEADSTART_GPU=1` says that its nodes have.
GPU = int(
    PLAN.params.runtime.device != "cpu"
    and (
        Path("/proc/driver/nvidia/version").exists()
        or os.environ.get("HEADSTART_GPU") == "1"
    )
)


def outputs_of(step):
    """Return the files that a whole step makes."""
    if step == "publish":
        return [publish_stamp(job.key).as_posix() for job in PLAN.jobs(step)]
    return manifests(PLAN.jobs(step))


def load_torch_once():
    """Start a process that loads what most jobs need, for them to fork from.

    Not beside a GPU, whose driver does not like forks, nor for a handful of jobs.
    """
    missing = sum(not job.manifest.exists() for job in PLAN.jobs())
    if not GPU and missing > 8:
        timm = any(model.kind == "timm" for model in PLAN.params.models.values())
        fork_server.start(["timm"] if timm else [])


def tell_where_to_look():
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


def tell_where_the_logs_are():
    """Point at the logs of what went wrong; finished work is kept."""
    print(
        "\nA job failed; its lines above name the log in logs/. Finished jobs are kept: fix it and run again."
    )
