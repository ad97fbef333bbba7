"""Figures of the joined study."""
