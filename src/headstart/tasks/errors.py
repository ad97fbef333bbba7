"""The one error that a wrong dataset, task or image raises."""


class TaskError(ValueError):
    """Images or classes that cannot be used: one line with the key or file, value and remedy."""
