"""The command `headstart`: one command for each rule of the workflow, and those that a person types."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter

from headstart.artifacts import code, store
from headstart.artifacts.keys import RESULTS, Job
from headstart.maintenance import edit_params, external, housekeeping
from headstart.maintenance.do_job import draw_finished, run_step
from headstart.maintenance.weight_options import NOTHING_SAID, WeightOptions
from headstart.params.reading import ParamsError
from headstart.plan import Plan
from headstart.registry import STEPS, load, parse
from headstart.steps.step import FOR_PEOPLE

PARAMS = Path("params.yaml")
app = App(
    name="headstart",
    help="Why and when does pre-training help? Run the study with `snakemake --cores all`; these commands "
    "do what its rules do, and look after the results.",
    help_format="plaintext",
)
data = App(name="data", help="Make a dataset (used by the workflow), or add one of your own.")
app.command(data)

ParamsFile = Annotated[Path, Parameter(name="--params", help="params file")]
PlanFile = Annotated[Path | None, Parameter(name="--plan", help="file of jobs (workflow)")]
WeightsOfFile = Annotated[WeightOptions, Parameter(name="*")]
LogFile = Annotated[Path | None, Parameter(name="--log", help="file that gets every line")]


def _add_step(step: str) -> None:
    def command(
        key: str, *, params: ParamsFile = PARAMS, log: LogFile = None, plan: PlanFile = None
    ) -> None:
        run_step(step, key, params, log, plan)

    command.__doc__ = f"Do one {step} job, named by its key (used by the workflow)."
    if step == "data":
        data.default(command)
    elif step not in FOR_PEOPLE:  # below
        app.command(command, name=step, group="Steps of the workflow")


for _step in STEPS:
    _add_step(_step)


@data.command(name="add")
def data_add(
    name: str,
    path: str,
    *,
    size: int | None = None,
    options: WeightsOfFile = NOTHING_SAID,
    params: ParamsFile = PARAMS,
) -> None:
    """Write what lies outside the params, with the sha256 of its content, into the params file.

    Args:
        name: name of the dataset or model in the params.
        path: a folder of images or of typefaces, a file of weights (safetensors, or a state dict that
            torch saved), `file.py:function`, `package:NAME` for the weights or typefaces in an installed
            Python package, or the word `timm` for those that timm publishes under the model's name.
        size: side of the images in pixels, for a new dataset.
        params: params file.
    """
    print(external.add(name, path, size, params, options))


@app.command(name="import")
def import_runs(
    *runs: str,
    epochs: Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())] = None,
    model: str | None = None,
    source: str | None = None,
    options: WeightsOfFile = NOTHING_SAID,
    params: ParamsFile = PARAMS,
) -> None:
    """Make source networks of checkpoints that were trained elsewhere, in place of training.

    Args:
        runs: folders of checkpoints, a run each; or files, patterns in quotes and timm tags, one run together.
        epochs: after which the checkpoints were saved, in their order, or which of them to take.
        model: of the params, whose checkpoints they are; may be left out where there is one.
        source: the task that the run was trained on; may be left out where there is one.
        params: params file.
    """
    module = _imported("headstart.maintenance.import_series")
    request = module.Request(tuple(epochs or ()), model, source, options)
    print(module.import_series(runs, request, params))


@app.command
def export(run: str, *where: str, to: Path, params: ParamsFile = PARAMS) -> None:
    """Write a trained network to a file that timm or plain PyTorch reads, and say how.

    Args:
        run: folder in results/ of a source network, of a trajectory or of runs of transfer, or its name; a
            pattern in quotes takes the one of several that validation likes best.
        where: which of its networks, such as `epoch=8`, or `source_epoch=8 shots=5`; without it the best by
            validation.
        to: file.safetensors.
        params: params file.
    """
    print(_imported("headstart.maintenance.export").export(run, where, to, params))


@app.command(name="set")
def set_params(*values: str, params: ParamsFile = PARAMS) -> None:
    """Edit the params file and keep its comments: `headstart set transfer.convnet.finetune.epochs=10`.

    Args:
        values: places in the file, with the value that each is to have.
        params: params file.
    """
    print(edit_params.set_values(values, params))


@app.command
def start(
    folder: Path,
    *,
    target: Path | None = None,
    model: str = "convnet",
    weights: Path | None = None,
    size: int | None = None,
    background: Literal["white", "grey", "black"] | None = None,
    timing: bool = True,
    params: ParamsFile = PARAMS,
) -> None:
    """Make a study of your own images: look at all of them, write params.yaml, say how long it takes.

    Args:
        folder: class folders with images in them, or train/ and test/ with class folders in each.
        target: another such folder for the target task; without it, the classes are divided.
        model: convnet, or a network of timm by its name, such as resnet18; with a tag, such as
            resnet18.a1_in1k, its published weights are given; or one of your own, file.py:function.
        weights: a file of weights of that network: then it is fine-tuned as given, and from scratch beside.
        size: side of the images in pixels; without it, that of the images, 32 at most.
        background: what transparent images stand on.
        timing: time a few steps of the network on this machine.
        params: params file; the earlier one is kept in .store/params.
    """
    module = _imported("headstart.maintenance.start")
    request = module.Request(folder, target, model, size, background, weights)
    print(module.start(request, params, timing=timing))


@app.command
def verdict(
    file: Path | None = None,
    *,
    classes: int | None = None,
    margin: float | None = None,
    primary: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    params: ParamsFile = PARAMS,
) -> None:
    """Evaluate a table of runs: is the source-best checkpoint the best start for fine-tuning?

    Args:
        file: .csv or .parquet with the columns of docs/verdicts.md; without it, the study's own runs.
        classes: of the target; tells which runs diverged where the file holds per-epoch losses.
        margin: of equivalence in percentage points; 1 unless said otherwise.
        primary: the contrast chosen before looking, such as `target=cyrillic shots=5`.
        params: params file.
    """
    print(
        _imported("headstart.studies.early_stopping.verdicts.study_verdicts").verdict_text(
            _tables_job(file, params), file, classes, margin, primary
        )
    )


@app.command
def claims(
    file: Path | None = None,
    *,
    classes: int | None = None,
    primary: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    params: ParamsFile = PARAMS,
    key: Annotated[str | None, Parameter(help="do this job (used by the workflow)")] = None,
    log: LogFile = None,
) -> None:
    """Evaluate the published claims in claims.yaml on the study's runs, or on a table of runs.

    Args:
        file: .csv or .parquet with the columns of docs/verdicts.md; without it, the study's own runs.
        classes: of the target; tells which runs diverged where the file holds per-epoch losses.
        primary: the contrast to evaluate, such as `target=cyrillic shots=5`.
        params: params file.
    """
    if key:
        run_step("claims", key, params, log)
        return
    steps = ("tables", "controls")
    made = ([], []) if file else map(Plan(load(params)).jobs, steps)
    text = _imported("headstart.maintenance.claim_text").claims_text
    print(text(*made, file, primary or (), classes))


@app.command
def controls(
    *,
    params: ParamsFile = PARAMS,
    key: Annotated[str | None, Parameter(help="do this job (used by the workflow)")] = None,
    log: LogFile = None,
) -> None:
    """Say what the judges of claims said of controls: never yes on negative ones, on planted effects always.

    Args:
        params: params file.
    """
    if key:
        run_step("controls", key, params, log)
        return
    made = Plan(load(params)).jobs("controls")
    print(_imported("headstart.maintenance.claim_text").controls_text(made))


@app.command
def recommend(
    *,
    checkpoints: str,
    target: str,
    budget: str = "10%",
    shots: int | None = None,
    draw: int = 0,
    rates: Annotated[list[float] | None, Parameter(consume_multiple=True, negative=())] = None,
    params: ParamsFile = PARAMS,
) -> None:
    """Say which checkpoint to fine-tune on a target and at which rate, how sure that is, and what it took.

    Args:
        checkpoints: of which network, by the name of its job, such as latin-convnet-seed0.
        target: a task of the params, or a folder with a folder of images for each class.
        budget: share of the target epochs of fine-tuning every candidate.
        shots: training images of each class; without it, as many as the study has.
        draw: of the training images.
        rates: to choose from; one is a fixed rate, none are those of the study.
        params: params file.
    """
    module = _imported("headstart.maintenance.recommend")
    share, chosen = module.budget_of(budget), tuple(rates or ())
    request = module.Request(checkpoints, target, share, shots, draw, chosen)
    print(module.recommend_text(request, params, lambda line: print(line, file=sys.stderr)))


@app.command(name="compare")
def compare_networks(
    one: str,
    other: str,
    *,
    images: Path,
    count: int = 200,
    size: int | None = None,
    steps: int = 200,
    tokens: Literal["all", "class", "mean"] = "all",
    out: Path = Path("comparison"),
) -> None:
    """Compare two networks, layer by layer: CKA, STIR, Procrustes, RSA, neighbours, subspaces, invariances.

    Args:
        one: a timm name, `random:` and a name, weights.safetensors:NAME, file.py:function, or a checkpoint.
        other: another of these.
        images: folder with JPEG or PNG images; those in folders below count.
        count: how many of them.
        size: side of the images in pixels, where the networks do not agree or say none.
        steps: of the inversions for STIR, the most costly part; 0 leaves STIR out.
        tokens: what is read of a block, as in docs/invariance_study.md.
        out: folder for tables (CSV, parquet) and figures (PDF, PNG, SVG).
    """
    module = _imported("headstart.studies.invariance.two_networks")
    print(module.compare((one, other), module.Request(images, count, size, steps, tokens, out)))


def _imported(name: str) -> Any:
    """Import a module when it is needed: tables take a second that other commands should not wait for."""
    return importlib.import_module(name)


def _tables_job(file: Path | None, params: Path) -> Job | None:
    """Return the job that makes the study's tables; a file of runs needs no params."""
    if file:
        return None
    return next(job for job in Plan(load(params)).jobs("tables") if job.name == "early_stopping")


@app.command
def init(preset: str = "default") -> None:
    """Lay down Snakefile, workflow, profiles, params.yaml and dvc.yaml in the current folder.

    Args:
        preset: what params.yaml becomes.
    """
    print(_imported("headstart.maintenance.project").init(Path(), preset))


@app.command
def use(preset: str, *, params: ParamsFile = PARAMS) -> None:
    """Replace params.yaml by a preset; the earlier file is kept in .store/params.

    Args:
        preset: its name, or the path of a YAML file with `base: NAME` and what differs from that preset.
        params: params file.
    """
    print(_imported("headstart.maintenance.presets").use(preset, params))


@app.command
def plan(preset: str | None = None, *, timing: bool = True, params: ParamsFile = PARAMS) -> None:
    """Say what a params file takes: jobs, runs, files, disk, memory and hours.

    Args:
        preset: its name, or the path of a params file; without it, the params file.
        timing: time a few steps of each model on this machine.
        params: params file.
    """
    presets = _imported("headstart.maintenance.presets")
    chosen = parse(presets.read(presets.find(preset, "plan")), preset) if preset else load(params)
    print(_imported("headstart.maintenance.estimate").plan_text(Plan(chosen), timing=timing))


@app.command
def verify(*, params: ParamsFile = PARAMS) -> None:
    """Compare every file of every current artifact with its manifest, and with what was made from it."""
    problems, words = housekeeping.verify(Plan(load(params)), params)
    print("\n".join(problems) if problems else "all files are as their manifests say")
    print(words, file=sys.stderr)
    if problems:
        raise SystemExit(1)


@app.command
def record(
    step: Annotated[str, Parameter(help="of the workflow")], *, params: ParamsFile = PARAMS
) -> None:
    """Make what a step lacks, verify it, and park what no current job needs: a stage of DVC.

    Snakemake is started only where something is missing; HEADSTART_CORES says on how many cores. Damage is
    named and not recorded.
    """
    _one_of("record", step, list(STEPS))
    for path in _imported("headstart.maintenance.engines").record(step, params):
        print(f"parked {path}")


@app.command
def pack(*, to: Path = Path("study.zip"), licence: str = "", params: ParamsFile = PARAMS) -> None:
    """Write one zip to send: page, figures, tables, params and workflow, described as an RO-Crate.

    Args:
        to: the zip.
        licence: of the results, for their description, such as `CC BY 4.0`.
        params: params file.
    """
    print(_imported("headstart.maintenance.pack").pack(params, to, licence))


@app.command
def draw(*, params: ParamsFile = PARAMS) -> None:
    """Draw what is finished of a study where something failed: tables, figures, claims and report, so marked.

    `snakemake` puts the whole study's in their place when it is finished.
    """
    draw_finished(params)


@app.command
def park(*stages: str, params: ParamsFile = PARAMS) -> None:
    """Move artifacts that no current job needs into .store/, where jobs look before they train."""
    plan = Plan(load(params))
    for stage in stages:
        _one_of("park", stage, [name for name in STEPS if name != "publish"])
        for path in store.park(RESULTS / stage, [job.path for job in plan.jobs(stage)]):
            print(f"parked {path}")


@app.command
def prune(*, yes: bool = False, params: ParamsFile = PARAMS) -> None:
    """List what .store/ holds that no current job needs; with --yes, delete it."""
    print(housekeeping.prune(Plan(load(params)), delete=yes))


@app.command
def version(step: str, *, same: bool = False, bump: bool = False) -> None:
    """Say what an edit of a step's source meant.

    Args:
        step: a step whose code has a version, such as pretrain.
        same: results stay what they were; the artifacts at hand keep their keys.
        bump: results change; everything that depends on the step is made again.
    """
    versioned = [name for name, kind in STEPS.items() if kind.versioned]
    _one_of("version", step, versioned)
    if same == bump:
        raise ParamsError("version: say either --same or --bump")
    number, changed = code.declare(step, STEPS[step].module, bump=bump)
    print(f"{step}: version {number}" + ("" if changed else ", as it was"))


@app.command
def generate() -> None:
    """Write what follows from the steps and the params: dvc.yaml, the JSON schema, docs/params.md, defaults."""
    for path in _imported("headstart.maintenance.generate").write_all():
        print(f"wrote {path}")


def _one_of(command: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise ParamsError(f"{command}: {name!r} is not one of {', '.join(known)}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an error that a person can fix is one line and exit code 1."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        sys.exit(f"headstart: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has seen enough, such as `head`. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        sys.exit(f"headstart: {_of_the_system(error)}")
    except Exception as error:
        if not _is_for_people(error):
            traceback.print_exc()
            sys.exit(1)
        sys.exit("\n".join(f"headstart: {line}" for line in str(error).splitlines()))


def _of_the_system(error: OSError) -> str:
    """Return in one line what the system refused, and what to do."""
    where, what = error.filename or Path.cwd(), error.strerror or error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{where}: {what}; make room (`headstart prune` lists what no current job needs) and run again: "
            "finished work is kept"
        )
    return f"{where}: {what}; check that this place can be written"


def _is_for_people(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "headstart" or (
        isinstance(error, LookupError)
        and bool(error.args and "no job has the key" in str(error.args[0]))
    )
