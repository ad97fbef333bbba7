"""What a params file takes: jobs are counted, the rest is estimated from what each step says of its jobs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.artifacts.keys import STORE
from headstart.networks.build import build
from headstart.networks.stacked import stack
from headstart.params.models import Model
from headstart.plan import Plan
from headstart.registry import STEPS
from headstart.steps.cost import Cost
from headstart.steps.step import resolve
from headstart.training import TrainingError
from headstart.training.device import choose_device, one_thread

BYTES = 4
LIBRARIES = 0.5e9
# Bytes of a manifest, or of a table without rows.
FILE = 3_500
# Training holds weights, gradients and two averages of them.
COPIES = 4
MOMENT = 0.3  # seconds that one timing takes
# Seconds of Snakemake's own process for each job, as measured for studies of 11 and 14 jobs.
STARTED = 0.6


@dataclass(frozen=True)
class Facts:
    """A model on images of one shape: numbers of its weights, activations per image, seconds per image."""

    weights: int
    activations: int
    training: float = 0
    forward: float = 0


class Estimate:
    """The costs of all jobs of a plan."""

    def __init__(
        self,
        plan: Plan,
        device: torch.device | None = None,
        timed: dict[tuple[Any, ...], Facts] | None = None,
    ) -> None:
        """Ask every step for the costs of its jobs.

        `device` None times nothing; `timed` is what another estimate found out about the same models.
        """
        self.plan, self.device = plan, device
        self.timed: dict[tuple[Any, ...], Facts] = {} if timed is None else timed
        self.costs: dict[str, list[Cost]] = {}
        for name, step in STEPS.items():
            of = resolve(step.cost) if step.cost else lambda *_: Cost(files=0)
            self.costs[name] = [of(job, plan.params) for job in plan.jobs(name)]

    def facts(self, cost: Cost) -> Facts:
        """Return what is known of the model of a job at its batch size."""
        assert cost.size
        model = self.plan.params.models[cost.model].model_copy(update={"weights": None})
        shape, batch = (cost.size.channels, cost.size.side, cost.size.side), min(cost.batch, 64)
        key = (model.model_dump_json(), shape, cost.size.classes, batch, cost.slots)
        if key not in self.timed:
            self.timed[key] = _facts(
                model, shape, cost.size.classes, batch, cost.slots, self.device
            )
        return self.timed[key]

    def hours(self) -> float:
        """Return the hours of all jobs, one after another, and of starting them."""
        every = [cost for costs in self.costs.values() for cost in costs]
        return sum(self.seconds(cost) + STARTED for cost in every) / 3600

    def seconds(self, cost: Cost) -> float:
        """Return the seconds of a job."""
        if not cost.model:
            return cost.seconds
        facts = self.facts(cost)
        return cost.seconds + cost.trained * facts.training + cost.evaluated * facts.forward

    def disk(self, cost: Cost) -> float:
        """Return the bytes that a job keeps."""
        kept = cost.checkpoints and cost.checkpoints * self.facts(cost).weights * BYTES
        return cost.disk + FILE * cost.files + kept

    def memory(self, cost: Cost) -> float:
        """Return the bytes that a job holds at once."""
        if not cost.model:
            return LIBRARIES + cost.held
        facts = self.facts(cost)
        held = cost.slots * (COPIES * facts.weights + cost.batch * facts.activations) * BYTES
        return LIBRARIES + cost.held + held


def _facts(
    model: Model,
    shape: tuple[int, int, int],
    classes: int,
    batch: int,
    slots: int,
    device: torch.device | None,
) -> Facts:
    """Count and, where a device is given, time a model on synthetic images, alone or as one of so many."""
    network = build(model, shape[0], shape[1], max(classes, 2), seed=0)
    activations = 0

    def count(_: object, __: object, output: object) -> None:
        nonlocal activations
        activations += output.numel() if isinstance(output, Tensor) else 0

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    with torch.no_grad():
        network.eval()(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    if device is None:
        return Facts(weights, activations)
    network.to(device)
    together = None
    if slots > 1:
        together = stack([network] * slots, torch.zeros(slots, 2, *shape, device=device), True)
    lead = () if together is None else (slots,)
    timed = network if together is None else together
    training = _seconds(timed.train(), lead, shape, batch, device)
    forward = _seconds(timed.eval(), lead, shape, batch, device)
    return Facts(weights, activations, training, forward)


def _seconds(
    network: nn.Module,
    lead: tuple[int, ...],
    shape: tuple[int, int, int],
    batch: int,
    device: torch.device,
) -> float:
    """Return the seconds that an image of one network takes at this batch.

    Where that takes longer than a moment, two smaller ones tell what a step costs and what each image adds.
    A network in training mode is updated, one in evaluation mode only evaluated; `lead` is (K,) for stacked ones.
    """
    updates = torch.optim.AdamW(network.parameters(), lr=0.0)
    # What else the machine does is no cost of the study.
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    images, before = min(batch, 4), (0, 0.0)
    while True:
        batched = torch.rand(*lead, images, *shape, device=device)
        taken: list[float] = []
        # The first one warms up. The least counts: what else the machine does adds to the others.
        while len(taken) < 2 or sum(taken) < MOMENT:
            started = clock()
            with torch.set_grad_enabled(network.training):
                loss = network(batched).logsumexp(-1).mean()
            if network.training:
                updates.zero_grad()
                loss.backward()
                updates.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(clock() - started)
        size, least = before
        if images >= batch or (size and min(taken) > MOMENT):
            each = (min(taken) - least) / (images - size)
            whole = min(taken) + max(each, 0.0) * (batch - images)
            return whole / batch / math.prod(lead)
        before, images = (images, min(taken)), min(batch, 4 * images)


def plan_text(plan: Plan, *, timing: bool = True) -> str:
    """Return a table of what a params file takes by step, and what it does not count."""
    device, why = None, "nothing was timed"
    if timing:
        one_thread()
        try:
            device = choose_device(plan.params.runtime.device, locks=STORE / "devices")
        except TrainingError as error:
            why = str(error)
    estimate = Estimate(plan, device)
    lines = [
        f"{'step':<12}{'jobs':>6}{'runs':>8}{'files':>8}{'disk':>10}{'memory':>10}{'hours':>9}"
    ]
    hours: dict[str, float] = {}
    for step, costs in estimate.costs.items():
        if costs:
            hours[step] = sum(map(estimate.seconds, costs)) / 3600
            lines.append(_row(step, costs, estimate, hours[step], bool(STEPS[step].cost)))
    every = [cost for costs in estimate.costs.values() for cost in costs]
    lines.append(_row("all", every, estimate, sum(hours.values()), True))
    return "\n".join([*lines, "", *_notes(estimate, hours, why)])


def _row(step: str, costs: list[Cost], estimate: Estimate, hours: float, known: bool) -> str:
    head = f"{step:<12}{len(costs):>6,}"
    if not known:
        return head + "".join(f"{'–':>{width}}" for width in (8, 8, 10, 10, 9))
    timed = estimate.device is not None and hours > 0
    return (
        f"{head}{sum(cost.runs for cost in costs):>8,}"
        f"{sum(cost.files + cost.checkpoints for cost in costs):>8,}"
        f"{_size_text(sum(map(estimate.disk, costs))):>10}"
        f"{_size_text(max(map(estimate.memory, costs))):>10}"
        f"{_hours(hours) if timed else '–':>9}"
    )


def _hours(hours: float) -> str:
    """Return two digits of it, as 0.083, 4.9 or 5,200."""
    return f"{float(f'{hours:.2g}'):,g}"


def _size_text(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def _notes(estimate: Estimate, hours: dict[str, float], untimed: str) -> list[str]:
    """Return what the table counts, what it leaves out, and which step decides.

    `untimed` says why there are no hours, where there are none.
    """
    unsaid = [name for name, costs in estimate.costs.items() if costs and not STEPS[name].cost]
    lines = [
        "Jobs are counted, the rest is estimated; memory is that of the largest job. Runs from `best` count as "
        "their own, though it may be an epoch that is listed too.",
        f"Only counted, with no estimate: {', '.join(unsaid)}.",
    ]
    if any(cost.guessed for costs in estimate.costs.values() for cost in costs):
        lines.append(
            "Some images are not there: 10,000 images of 100 classes are assumed for each such dataset."
        )
    if estimate.device is None:
        return [*lines, f"Hours are left out: {untimed}."]
    largest = max(hours, key=lambda step: hours[step])
    total = sum(hours.values())
    if total:
        share = hours[largest] / total
        # What asks no network costs the same whatever its section says.
        asks = any(cost.model for cost in estimate.costs[largest])
        advice = ": its section is what to change." if asks else ", whatever the params say."
        lines.append(f"{largest} takes {share:.0%} of the hours{advice}")
    return [
        *lines,
        f"Hours: passes timed on {estimate.device}, one job after another, without starting jobs, reading and "
        "augmentation. Divide by the jobs that run at a time.",
    ]
