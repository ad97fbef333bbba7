"""Inference on tables: from tidy tables of runs to verdicts with intervals."""
