"""What the invariance study needs of images and blocks, compared with them before any training."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import TypeAdapter

from headstart.metrics.representations.corruptions import CORRUPTIONS
from headstart.networks.network import Network, number_of_blocks
from headstart.params.core import suggest
from headstart.steps.check import Facts, Sections
from headstart.studies.invariance.params import Invariance
from headstart.tasks import TaskError
from headstart.tasks.classes import resolve_classes


def data_problems(sections: Sections, facts: Facts) -> Iterator[str]:
    """Yield images that there are not enough of, and corruptions that cannot be applied."""
    for model, part in _models(sections).items():
        path = f"invariance.{model}"
        arms = facts.params.trajectory[model]
        targets = dict.fromkeys(target for arm in part.arms for target in arms[arm].targets)
        for target in targets:
            requested, available = part.inversions.images, _images(target, part, facts)
            if requested > available:
                yield (
                    f"{path}.inversions.images: {requested}, but {target} has {available} "
                    f"{part.inversions.part} images; ask for fewer"
                )
            channels = facts.shape(target)[0]
            if part.robustness.corruptions and channels not in (1, 3):
                yield (
                    f"{path}.robustness.corruptions: {target} has images of {channels} "
                    "channels, and corruptions are made for 1 or 3; leave them out"
                )
        for name in part.robustness.corruptions:
            if name not in CORRUPTIONS:
                fix = suggest(name, list(CORRUPTIONS))
                yield f"{path}.robustness.corruptions: no corruption {name!r}; {fix}"


def network_problems(
    sections: Sections, facts: Facts, model: str, network: Network
) -> Iterator[str]:
    """Yield layers that a network does not have."""
    part = _models(sections).get(model)
    if part is None:
        return
    try:
        blocks = number_of_blocks(network.backbone)
    except TypeError:
        yield (
            f"invariance.{model}: {type(network.backbone).__name__} has no blocks to invert; choose "
            "a vision transformer of timm, or a network that states `block_names`"
        )
        return
    missing = [layer for layer in part.inversions.layers if layer > blocks]
    if missing:
        yield (
            f"invariance.{model}.inversions.layers: {missing} do not exist: "
            f"the network has layers 1 to {blocks}"
        )


def _models(sections: Sections) -> dict[str, Invariance]:
    return TypeAdapter(dict[str, Invariance]).validate_python(sections.get("invariance", {}))


def _images(target: str, part: Invariance, facts: Facts) -> int:
    """Return how many images the part of a task has that is inverted."""
    task, known = facts.params.tasks[target], facts.counted(target)
    try:
        classes = resolve_classes(task.classes, known, f"tasks.{target}.classes")
    except TaskError:
        return part.inversions.images  # the task itself is wrong, which is said elsewhere
    if part.inversions.part == "validation":
        return len(classes) * task.validation_per_class
    return sum(known.test[name] for name in classes)
