"""What the joined study asks of images and networks, compared with them before any training."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import TypeAdapter

from headstart.networks.network import Network, number_of_blocks
from headstart.steps.check import Facts, Sections
from headstart.studies.joined.params import Joined


def data_problems(sections: Sections, facts: Facts) -> Iterator[str]:
    """Yield grids of players that are finer than the pixels of a target."""
    for model, options in _joined(sections).items():
        _, height, width = facts.shape(options.target)
        if options.rows > height or options.columns > width:
            yield (
                f"joined.{model}: a grid of {options.rows} rows and {options.columns} columns on images of "
                f"{height} × {width} pixels; give at most as many"
            )


def network_problems(
    sections: Sections, facts: Facts, model: str, network: Network
) -> Iterator[str]:
    """Yield where the last block of a network without blocks is to be replaced."""
    options = _joined(sections).get(model)
    if options is None or options.intervention is None:
        return
    try:
        number_of_blocks(network.backbone)
    except TypeError as error:
        yield f"joined.{model}.intervention: {error}; or leave `intervention` out"


def _joined(sections: Sections) -> dict[str, Joined]:
    return TypeAdapter(dict[str, Joined]).validate_python(sections.get("joined", {}))
