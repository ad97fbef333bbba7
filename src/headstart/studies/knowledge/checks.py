"""What the study of knowledge asks of images, compared with them before any training."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import TypeAdapter

from headstart.networks.network import Network
from headstart.steps.check import Facts, Sections
from headstart.studies.knowledge.params import Knowledge
from headstart.studies.knowledge.subjects import check_subjects
from headstart.tasks import TaskError
from headstart.tasks.classes import resolve_classes


def data_problems(sections: Sections, facts: Facts) -> Iterator[str]:
    """Yield players and images that are requested and that a target does not have."""
    requested = TypeAdapter(dict[str, Knowledge]).validate_python(sections.get("knowledge", {}))
    for model, options in requested.items():
        arm = facts.params.trajectory[model][options.finetuned]
        for target in options.targets or arm.targets:
            known = facts.counted(target)
            try:
                classes = resolve_classes(facts.params.tasks[target].classes, known, "")
            except TaskError:  # said of the task already
                continue
            available = sum(known.test[name] for name in classes)
            channels, height, width = facts.shape(target)
            try:
                check_subjects(options, available, (channels, height, width), target)
            except ValueError as error:
                yield f"knowledge.{model}: on {target}: {error}"


def network_problems(
    sections: Sections, facts: Facts, model: str, network: Network
) -> Iterator[str]:
    """Yield nothing: any network has logits."""
    yield from ()
