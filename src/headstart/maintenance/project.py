"""A folder to work in that is no clone of the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from headstart.artifacts.files import shared, write_atomically
from headstart.maintenance.generate import dvc_yaml
from headstart.maintenance.presets import complete_text, find
from headstart.params.reading import ParamsError

COPIED = ("Snakefile", "workflow", "profiles")
WRITTEN = PARAMS, DVC = "params.yaml", "dvc.yaml"


def init(folder: Path, preset: str = "default") -> str:
    """Lay down the workflow and a params file in a folder; return what was done.

    Raises:
        ParamsError: one of the files is there already; nothing is written then.
    """
    text = complete_text(find(preset))
    lay_down(folder, PARAMS)
    write_atomically(folder / PARAMS, text.encode())
    return f"wrote {', '.join((*COPIED, PARAMS, DVC))}; run `snakemake --cores all`"


def lay_down(folder: Path, *further: str) -> None:
    """Lay down the workflow in a folder where neither it nor `further` files are.

    Raises:
        ParamsError: one of them is there already; nothing is written then.
    """
    there = [name for name in (*COPIED, *further, DVC) if (folder / name).exists()]
    if there:
        raise ParamsError(f"init: {', '.join(there)} exists already; choose an empty folder")
    for name in COPIED:
        source = shared(name)
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    # Without source as dependencies: the package lies elsewhere.
    write_atomically(folder / DVC, dvc_yaml(source=False).encode())
