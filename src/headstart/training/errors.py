"""The error of training, for people."""


class TrainingError(ValueError):
    """Training that cannot be done; one line names the key or file, the value and the remedy."""
