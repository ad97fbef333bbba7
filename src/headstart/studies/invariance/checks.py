"""What the invariance study needs of images and blocks, compared with them before any training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from pydantic import TypeAdapter
from torch import nn

from headstart.metrics.representations.corruptions import CORRUPTIONS
from headstart.metrics.representations.inversion import InversionOptimizer, invert
from headstart.networks.network import Network, late_blocks_replaced, number_of_blocks
from headstart.params.core import suggest
from headstart.steps.check import Facts, Sections
from headstart.studies.invariance.params import Invariance, Tokens
from headstart.tasks import TaskError
from headstart.tasks.batches import Normalization
from headstart.tasks.classes import resolve_classes
from headstart.training.checkpoint_series import Pixels


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
            "a model of timm, or a network that states `block_names`"
        )
        return
    missing = [layer for layer in part.inversions.layers if layer > blocks]
    if missing:
        yield (
            f"invariance.{model}.inversions.layers: {missing} do not exist: "
            f"the network has layers 1 to {blocks}"
        )
        return
    arms = facts.params.trajectory[model]
    target = next(target for arm in part.arms for target in arms[arm].targets)
    for tokens in part.inversions.readings:
        if problem := _dry_run_problem(network.backbone, tokens, facts.shape(target)):
            yield f"invariance.{model}.inversions.tokens: {tokens!r}: {problem}"


def _dry_run_problem(backbone: nn.Module, tokens: Tokens, shape: Sequence[int]) -> str:
    """Return why images cannot be inverted and compared at every block, or an empty text.

    One step on two images and on three, for a network may mix the images of a batch, or take a pair of
    images for a pair of outputs.
    """
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    was_training, blocks = backbone.training, number_of_blocks(backbone)
    backbone.eval()
    normalization = Normalization((0.0,) * shape[0], (1.0,) * shape[0])
    network = Pixels(backbone, normalization, tuple(range(1, blocks + 1)), tokens)
    try:
        with torch.no_grad():
            two, three = network.every_layer(images[:2]), network.every_layer(images)
        for layer, few, more in zip(network.layers, two, three, strict=True):
            if len(few) != 2 or not torch.allclose(few, more[:2], atol=1e-3, rtol=1e-3):
                return f"block {layer} mixes the images of a batch; choose other blocks"
            for number, represented in ((2, few), (3, more)):
                start = images[:number].flip(0)
                invert(network.until(layer), represented, start, InversionOptimizer(steps=1))
        late_blocks_replaced(backbone, backbone, 0)
    # Any network's code runs here, so that any error may come.
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        backbone.train(was_training)
    return ""


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
