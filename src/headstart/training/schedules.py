"""The learning rate as a pure function of the time in training."""

import math

from headstart.params.recipe import Schedule


def learning_rate(schedule: Schedule, base: float, epoch: float, epochs: int) -> float:
    """Return the learning rate after `epoch` of `epochs` epochs, a fraction of an epoch allowed.

    `constant` is `base`; `step` multiplies it by `factor` from the start of each epoch in `drops`,
    counted from 0; `cosine` falls from `base` at the end of warm-up to 0 at the end of training,
    base · (1 + cos(π t)) / 2 (Loshchilov & Hutter 2017, one cycle). During `warmup_epochs`, every
    schedule is multiplied by the share of warm-up that has passed.

    The loop asks once per step, at its middle: step s of an epoch with S steps is at epoch
    e + (s + 1/2) / S. So drops fall between epochs, while cosine and warm-up change at every step.
    """
    warmup = min(1.0, epoch / schedule.warmup_epochs) if schedule.warmup_epochs else 1.0
    match schedule.name:
        case "constant":
            factor = 1.0
        case "step":
            factor = schedule.factor ** sum(epoch >= drop for drop in schedule.drops)
        case "cosine":
            length = epochs - schedule.warmup_epochs
            time = (epoch - schedule.warmup_epochs) / length if length > 0 else 1.0
            factor = (1 + math.cos(math.pi * min(1.0, max(0.0, time)))) / 2
    return base * factor * warmup
