"""Figures of the invariance study."""
