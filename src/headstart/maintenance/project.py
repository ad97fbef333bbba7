"""A folder to work in that is no clone of the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from headstart.artifacts.files import shared, write_atomically
from headstart.maintenance.generate import dvc_yaml
from headstart.maintenance.presets import complete_text, find
from headstart.params.reading import ParamsError

COPIED = ("Snakefile", "workflow", "profiles")
WRITTEN = ("params.yaml", "dvc.yaml")


def init(folder: Path, preset: str = "default") -> str:
    """Lay down the workflow and a params file in a folder; return what was done.

    Raises:
        ParamsError: one of the files is there already; nothing is written then.
    """
    there = [name for name in (*COPIED, *WRITTEN) if (folder / name).exists()]
    if there:
        raise ParamsError(f"init: {', '.join(there)} exists already; choose an empty folder")
    text = complete_text(find(preset))
    for name in COPIED:
        source = shared(name)
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    write_atomically(folder / "params.yaml", text.encode())
    # Without source as dependencies: the package lies elsewhere.
    write_atomically(folder / "dvc.yaml", dvc_yaml(source=False).encode())
    return f"wrote {', '.join((*COPIED, *WRITTEN))}; run `snakemake --cores all`"
