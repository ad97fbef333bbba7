"""The command `headstart recommend`; what it needs is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def recommend(
    *,
    checkpoints: str,
    target: str,
    budget: str = "10%",
    shots: int | None = None,
    draw: int = 0,
    rates: Annotated[list[float] | None, Parameter(consume_multiple=True, negative=())] = None,
    params: Path = Path("params.yaml"),
) -> None:
    """Say which checkpoint to fine-tune on a target and at which rate, how sure that is, and what it took.

    Args:
        checkpoints: of which network, by the name of its job, such as latin-convnet-seed0.
        target: a task of the params, or a folder with a folder of images for each class.
        budget: share of the target epochs of fine-tuning every candidate.
        shots: training images of each class; without it, as many as the study has.
        draw: of the training images.
        rates: to choose from; one is a fixed rate, none are those of the study.
        params: params file.
    """
    module = import_module("headstart.maintenance.recommend")
    share, chosen = module.budget_of(budget), tuple(rates or ())
    request = module.Request(checkpoints, target, share, shots, draw, chosen)
    print(module.recommend_text(request, params, lambda line: print(line, file=sys.stderr)))
