"""The repository under test, and copies of what a user edits in it."""

import shutil
from pathlib import Path

from headstart.maintenance import presets

ROOT = Path(__file__).resolve().parents[1]


def copy_project(folder: Path, preset: str = "smoke") -> Path:
    """Copy what a user edits into a folder: the workflow and the params, without results and source."""
    for name in ("Snakefile", "dvc.yaml", "claims.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("workflow", "profiles", "notebooks", "presets", "published", "src"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    text = presets.complete_text(presets.find(preset))
    (folder / "params.yaml").write_text(text)
    return folder
