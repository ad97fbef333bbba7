"""Images and labels: datasets, their splits into tasks, shots, and batches on the device."""


class TaskError(ValueError):
    """Images or classes that cannot be used: one line with the key or file, value and how to fix it."""
