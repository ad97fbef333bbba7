"""What the early-stopping study asks of data and networks, compared with them before any training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter

from headstart.networks.network import Network
from headstart.steps.check import (
    Facts,
    Sections,
    recalibration_problems,
    target_problems,
    trained_whole,
)
from headstart.steps.trial_step import step_problems
from headstart.studies.early_stopping.params import Transfer

Arms = dict[str, dict[str, Transfer]]


def data_problems(sections: Sections, facts: Facts) -> Iterator[str]:
    """Yield targets without the classes, shots or shape of images that transfer needs."""
    for model, arms in _arms(sections).items():
        for arm, transfer in arms.items():
            path = f"transfer.{model}.{arm}"
            for grid in transfer.grids():
                most = max((number for number in grid.shots if number != "all"), default=None)
                targets = grid.targets or facts.params.pretrain[model].sources
                yield from target_problems(path, model, targets, most, facts)


def network_problems(
    sections: Sections, facts: Facts, model: str, network: Network
) -> Iterator[str]:
    """Yield arms that ask for batch statistics of a network that has none, or for steps that it cannot do."""
    arms = _arms(sections).get(model, {})
    parts: Mapping[str, Transfer] = {f"transfer.{model}.{arm}": part for arm, part in arms.items()}
    yield from recalibration_problems(model, network, parts)
    shape = facts.shape(facts.params.pretrain[model].sources[0])
    yield from step_problems(network, trained_whole(parts), shape)


def _arms(sections: Sections) -> Arms:
    return TypeAdapter(Arms).validate_python(sections.get("transfer", {}))
