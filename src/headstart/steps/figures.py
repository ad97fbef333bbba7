"""Step `figures`: run a parameterised notebook, keep what it drew and the executed notebook as HTML.

Two runs give identical bytes: the notebook gets relative paths only, and what an execution leaves in
it (times, identifiers) is taken out before it becomes HTML.
"""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from headstart.artifacts.files import ArtifactError, shared
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.params.core import Figures
from headstart.steps.step import incomplete_text

NOTEBOOKS = shared("notebooks")
# Of the kernel: a fixed date in files that matplotlib writes, a backend that shows nothing, whatever the
# user prefers, for `style.save` shows figures with their captions, and no hint about debuggers.
ENVIRONMENT = {
    "SOURCE_DATE_EPOCH": "0",
    "MPLBACKEND": "agg",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
# Of the kernel, too: what `headstart.figures.style` writes across every figure.
MARK = "HEADSTART_MARK"


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Execute the notebook of a study on its tables."""
    options = Figures.model_validate(job.params["figures"])
    tables = context.input("tables")
    for name in tables.manifest["files"]:
        tables.file(name)
    parameters = {
        "tables": tables.path.as_posix(),
        "figures": context.out.as_posix(),
        "confidence": options.confidence,
        "dots_per_inch": options.dots_per_inch,
    }
    context.log(f"drawing from {tables.path}")
    os.environ[MARK] = incomplete_text(job.params)
    executed = execute(
        NOTEBOOKS / f"{job.name}.ipynb", parameters, context.state / f"{job.name}.ipynb"
    )
    (context.out / f"{job.name}.html").write_text(html(executed, job.name), encoding="utf-8")
    return {"summary": {"files": len(list(context.out.iterdir()))}}


def execute(path: Path, parameters: Mapping[str, Any], failed: Path) -> NotebookNode:
    """Run a notebook with papermill and return it without times and identifiers.

    Raises:
        ArtifactError: a parameter is unknown to the notebook, or a cell failed (the notebook, with the
            error in it, is then kept as `failed`).
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    known = set(papermill.inspect_notebook(str(path)))
    if unknown := sorted(set(parameters) - known):
        raise ArtifactError(
            f"{path}: has no parameter {', '.join(unknown)}; its cell tagged `parameters` lists them"
        )
    os.environ.update(ENVIRONMENT)
    try:
        with _quiet_kernel(failed.with_suffix(".stderr")):
            executed = papermill.execute_notebook(
                str(path),
                str(failed),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
            )
    except PapermillExecutionError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ArtifactError(
            f"{path}: a cell failed ({lines[-1]}); the executed notebook is {failed}"
        ) from None
    return without_traces(executed)


@contextmanager
def _quiet_kernel(path: Path) -> Iterator[None]:
    """Send what a kernel tells about itself, such as its ports, to a file; errors in cells are raised anyway."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def without_traces(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without what differs from one execution to the next."""
    clean = copy.deepcopy(notebook)
    clean.metadata = NotebookNode(kernelspec=notebook.metadata.kernelspec)
    for index, cell in enumerate(clean.cells):
        cell.id = f"cell-{index}"
        cell.metadata = NotebookNode(tags=cell.metadata.get("tags", []))
        if cell.cell_type == "code":
            cell.outputs = list(_joined(cell.outputs))
    nbformat.validate(clean)
    return clean


def _joined(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield what a cell printed in one piece, wherever the kernel cut it, and no warnings.

    Warnings name files of the kernel's process; the notebook that a failed job keeps has them.
    """
    last: NotebookNode | None = None
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if last is not None and output.output_type == last.output_type == "stream":
            last.text += output.text
            continue
        last = output
        yield output


def html(notebook: NotebookNode, title: str) -> str:
    """Return the notebook as one HTML page with its pictures inside, and without any script."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(embed_images=True)
    body, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"name": title, "path": "."}}
    )
    # They would load formulas and diagrams, of which there are none, from elsewhere.
    return re.sub(r"<script\b.*?</script>", "", str(body), flags=re.DOTALL)
