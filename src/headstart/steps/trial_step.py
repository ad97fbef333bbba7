"""One step of training on as few images as a run may see: what a network cannot do is said before any run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F

from headstart.networks.network import Network
from headstart.params.recipe import Training

COPIES = (
    "no copy of it can be made after a step ({}); use `torch.nn.utils.parametrizations.weight_norm` in place "
    "of `torch.nn.utils.weight_norm`, and keep no tensor that was computed as an attribute"
)


def weight_problems(network: Network) -> Iterator[str]:
    """Yield what is wrong with the weights of a backbone: there are none, or they are complex numbers."""
    weights = dict(network.backbone.named_parameters())
    if not weights:
        yield "the network has no weights, so that nothing of it could be trained or transferred"
    found = [name for name, weight in weights.items() if weight.is_complex()]
    if found:
        yield f"{found[0]}: complex weights, of which distances and plasticity are not defined"


def step_problems(
    network: Network, parts: Mapping[str, Training], shape: Sequence[int]
) -> Iterator[str]:
    """Yield the first of the trainings, by their place in the params, that a network cannot do a step of."""
    for number in (1, 2):
        paths = [path for path, part in parts.items() if min(part.batch_size, 2) == number]
        if paths and (problem := _problem(network, number, shape)):
            yield f"{paths[0]}: {problem}"
            return


def _problem(network: Network, number: int, shape: Sequence[int]) -> str:
    """Return why a step on so many images of a shape fails, or why the network cannot be copied afterwards."""
    images = torch.zeros(number, *shape)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        network.train()
        F.cross_entropy(network(images), torch.arange(number)).backward()
    # Any network's code runs here, so that any error may come.
    except Exception as error:
        few = "; give a larger `batch_size`, or larger images" if number == 1 else ""
        return f"a step on {number} image{'s' * (number > 1)} fails: {_words(error)}{few}"
    try:
        copy.deepcopy(network)
    except Exception as error:
        return COPIES.format(_words(error))
    finally:
        network.zero_grad()
        network.load_state_dict(state)
    return ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
