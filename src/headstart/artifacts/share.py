"""Files that belong to the project and are no Python: presets, workflow, notebooks, claims, published values."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """Return where a file or folder of the project lies: inside the package, or in the checkout around it.

    A built wheel carries these files in `share/`; an editable install leaves them where they are edited.
    """
    inside = PACKAGE / "share" / name
    return inside if inside.exists() else PACKAGE.parents[1] / name
