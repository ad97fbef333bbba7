"""Inference on tables: from tidy tables of runs to verdicts with intervals."""

from headstart import from_stub

__getattr__, __all__ = from_stub(__name__)
