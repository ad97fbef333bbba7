"""What guessing reaches."""

import math

SPREADS = 2
"""Standard deviations that an accuracy must lie above chance, to be said to be above it."""


def by_guessing(classes: int, images: int) -> float:
    """Return an accuracy that guessing among so many classes, on so many images, seldom exceeds."""
    chance = 1 / classes
    return chance + SPREADS * math.sqrt(chance * (1 - chance) / max(images, 1))
