"""What the params ask of blocks and tokens, compared with data and networks before any training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headstart.metrics.blocks import number_of_blocks
from headstart.metrics.corruptions import CORRUPTIONS
from headstart.networks.network import Network
from headstart.networks.reconstruction import reconstruction_problem
from headstart.params import Invariance, Params
from headstart.params.study import suggest
from headstart.tasks.classes import resolve_classes
from headstart.tasks.errors import TaskError
from headstart.tasks.storage import ClassCounts


def image_problems(params: Params, counts: Mapping[str, ClassCounts]) -> Iterator[str]:
    """Yield images that there are not enough of, and corruptions that cannot be applied."""
    for model, part in params.invariance.items():
        path = f"invariance.{model}"
        for target in _targets(params, model, part):
            task = params.tasks[target]
            known = counts[task.dataset]
            asked, held = part.inversions.images, _images(params, target, known, part)
            if asked > held:
                yield (
                    f"{path}.inversions.images: {asked}, but {target} has {held} "
                    f"{part.inversions.part} images; ask for fewer"
                )
            if part.robustness.corruptions and known.shape[0] not in (1, 3):
                yield (
                    f"{path}.robustness.corruptions: {target} has images of {known.shape[0]} "
                    "channels, and corruptions are made for 1 or 3; leave them out"
                )
        for name in part.robustness.corruptions:
            if name not in CORRUPTIONS:
                remedy = suggest(name, list(CORRUPTIONS))
                yield f"{path}.robustness.corruptions: no corruption {name!r}; {remedy}"


def network_problems(params: Params, model: str, network: Network) -> Iterator[str]:
    """Yield layers that a network does not have, and tokens that it does not give."""
    for arm, trajectory in params.trajectory.get(model, {}).items():
        problem = reconstruction_problem(network.backbone)
        if trajectory.mode == "reconstruct" and problem:
            yield f"trajectory.{model}.{arm}.mode: {problem}"
    part = params.invariance.get(model)
    if part is None:
        return
    try:
        blocks = number_of_blocks(network.backbone)
    except TypeError:
        yield (
            f"invariance.{model}: {type(network.backbone).__name__} has no numbered blocks to invert; "
            "choose a vision transformer of timm, or a network that is an nn.Sequential"
        )
        return
    missing = [layer for layer in part.inversions.layers if layer > blocks]
    if missing:
        yield (
            f"invariance.{model}.inversions.layers: {missing} do not exist: "
            f"the network has layers 1 to {blocks}"
        )


def _targets(params: Params, model: str, part: Invariance) -> list[str]:
    arms = params.trajectory[model]
    return list(dict.fromkeys(target for arm in part.arms for target in arms[arm].targets))


def _images(params: Params, target: str, counts: ClassCounts, part: Invariance) -> int:
    """Return how many images the part of a task has that is inverted."""
    task = params.tasks[target]
    try:
        classes = resolve_classes(task.classes, counts, f"tasks.{target}.classes")
    except TaskError:
        return part.inversions.images  # the task itself is wrong, which is said elsewhere
    if part.inversions.part == "validation":
        return len(classes) * task.validation_per_class
    return sum(counts.test[name] for name in classes)
