"""Verdicts: from a table of runs to a decision with its interval and its reason."""
