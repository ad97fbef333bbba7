"""Training: the one loop of every arm, its schedules, optimisers, evaluation and checkpoints."""


class TrainingError(ValueError):
    """Options or files that training cannot use: one line with the value and how to fix it."""
