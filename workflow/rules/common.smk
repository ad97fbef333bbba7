"""The plan that all rules read, and what is said at the end."""

import os
import shlex
import shutil
import sys
import textwrap
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from headstart.artifacts.files import ArtifactError, read_json
from headstart.artifacts.keys import STAMPS
from headstart.maintenance import fork_server, terminal
from headstart.maintenance.engines import PARAMS, RUN_FILE, Node, Run, tend
from headstart.params.reading import ParamsError
from headstart.registry import STEPS

# Of Snakemake's options; another study would be planned than the commands and DVC read.
if config:
    raise WorkflowError(
        f"--config and --configfile ({', '.join(map(str, config))}) are not read: this study is params.yaml; "
        "change it with `headstart set section.name=value` or `headstart use FILE`"
    )
try:
    # What is done is decided here, once; a process that Snakemake starts for a job decides nothing.
    RUN = Run() if workflow.is_main_process else Node()
except (ParamsError, ArtifactError) as error:
    raise WorkflowError(str(error)) from None
except OSError as error:
    raise WorkflowError(
        f"{error.filename}: {error.strerror}; check that this folder can be written"
    ) from None

# Jobs, and what Snakemake starts for them, read the params as they are now, even if somebody edits the file.
os.environ[PARAMS] = str(RUN.snapshot)
os.environ[RUN_FILE] = str(RUN.file)


envvars:
    PARAMS,
    RUN_FILE,


# A target without any input is always executed.
PERMANENT = ancient(str(RUN.snapshot))
# Which figures there are is known when they are there; only Snakemake's own report asks.
REPORTS = any(argument.startswith("--report") for argument in sys.argv)
HEADSTART = f"{shlex.quote(sys.executable)} -m headstart"
# A job asks for a GPU where there is one and the params do not forbid it; the profile caps their number.
# On a cluster the head node may have none: `export HEADSTART_GPU=1` says that its nodes have.
GPU = int(
    RUN.device != "cpu"
    and (
        Path("/proc/driver/nvidia/version").exists()
        or os.environ.get("HEADSTART_GPU") == "1"
    )
)

# Of the process that a person started; a dry run and `--verbose` show what Snakemake itself says.
OVERVIEW = None
if (
    workflow.is_main_process
    and not workflow.output_settings.dryrun
    and not workflow.output_settings.verbose
):
    OVERVIEW = terminal.Overview(
        RUN, terminal.at_a_time(workflow), live=terminal.is_watched()
    )
    OVERVIEW.attach(logger)
# Under the overview, jobs write to their logs alone.
LOG = " --log {log:q}" + (" >> {log:q} 2>&1" if OVERVIEW and OVERVIEW.live else "")


def load_torch_once():
    """Start a process that loads what most jobs need, for them to fork from.

    Not beside a GPU, whose driver does not like forks, nor for a handful of jobs, nor where they run on other
    machines.
    """
    if workflow.local_exec and not GPU and len(RUN.unfinished) > 8:
        timm = any(model.kind == "timm" for model in RUN.params.models.values())
        fork_server.start(["timm"] if timm else [])


def tell_where_to_look():
    """Tell the person who waited what was found, where to look, and how to record what was made."""
    took = f" {OVERVIEW.took()}." if OVERVIEW else ""
    if OVERVIEW:
        OVERVIEW.close()
    if Path("claims.json").exists():
        print()
        people = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        for line in read_json(Path("claims.json")).get("answer", []):
            question, mark, found = textwrap.fill(
                line, width, subsequent_indent="  "
            ).partition("?")
            bold = f"\033[1m{question}{mark}\033[0m" if people else question + mark
            print(bold + found)
    if Path("report.html").exists():
        drawn = sum(1 for _ in Path("figures").glob("*.png"))
        print(f"\nOn one page: report.html ({drawn} figures, also in figures/).{took}")
    if "DVC_STAGE" not in os.environ:
        print("To record these results with DVC, run: dvc repro")


def tell_where_the_logs_are():
    """Point at the logs of what went wrong; finished work is kept."""
    if OVERVIEW:
        OVERVIEW.close()
    print(
        "\nA job failed; its lines above name the log in logs/. Finished jobs are kept: fix it and run again. "
        "`headstart draw` draws what is finished."
    )
