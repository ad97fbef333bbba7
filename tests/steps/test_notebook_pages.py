"""The page of an executed notebook holds what it printed, and nothing of the process that ran it."""

import re
from pathlib import Path

import pandas as pd
from nbformat.v4 import new_code_cell, new_notebook, new_output
from planted_runs import choices
from study_tables import EARLIER, curves, measurements

from headstart.artifacts.files import write_table
from headstart.steps import figures
from headstart.steps.figures import without_traces
from headstart.studies.early_stopping.params import Statistics
from headstart.studies.early_stopping.protocol import COLUMNS
from headstart.studies.early_stopping.study import STUDY
from headstart.studies.early_stopping.verdicts.study_verdicts import study_verdicts, verdict_frame


def test_printed_lines_are_one_piece_wherever_the_kernel_cut_them_and_warnings_are_left_out() -> (
    None
):
    def page(*outputs: tuple[str, str]) -> object:
        streams = [new_output("stream", name=name, text=text) for name, text in outputs]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        return without_traces(new_notebook(cells=[new_code_cell(outputs=streams)], metadata=kernel))

    whole = page(("stdout", "one\ntwo\n"))
    assert page(("stdout", "one\n"), ("stderr", "1234.py: a warning"), ("stdout", "two\n")) == whole
    assert whole.cells[0].outputs[0].text == "one\ntwo\n"


def test_the_notebook_of_early_stopping_draws_every_figure_with_its_table(project: Path) -> None:
    """The page is the same wherever the run is repeated, and holds each figure that it writes."""
    measured = measurements(EARLIER, n_seeds=2, rates=(0.01, 0.1))
    tables = {
        "measurements": measured,
        "verdicts": verdict_frame(study_verdicts(measured, Statistics()), measured),
        "curves": pd.concat([curves(2), curves(2).assign(split="train")], ignore_index=True),
        "published": pd.DataFrame(columns=COLUMNS),
    }
    tables["choices"] = choices()
    tables["curves"] = tables["curves"].assign(learning_rate=0.1)
    # By this file the notebook knows the project's folder.
    (project / "params.yaml").touch()
    (project / "tables").mkdir()
    for name, table in tables.items():
        write_table(project / "tables" / f"{name}.parquet", table)
    parameters = {"tables": "tables", "figures": "drawn", "dots_per_inch": 50}
    path = figures.NOTEBOOKS / "early_stopping.ipynb"
    executed = figures.execute(path, parameters, project / "failed.ipynb")
    kinds = set(STUDY.figures) - {"plasticity"}
    for end in ("png", "pdf", "svg", "csv"):
        drawn = {file.stem for file in (project / "drawn").glob(f"*.{end}")}
        assert {f"{kind}_net" for kind in kinds} <= drawn
    assert {"verdicts.csv", "trainability.csv"} <= {f.name for f in (project / "drawn").iterdir()}
    page = figures.html(executed, "early_stopping")
    assert page.count("<img") == len(kinds)
    alts = re.findall(r'<img alt="([^"]*)"', page)
    assert len(alts) == len(kinds)
    assert all(len(alt) > 60 and "from latin" in alt for alt in alts)
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="https?:', page)
    assert str(project) not in page
