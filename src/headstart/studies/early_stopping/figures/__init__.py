"""Figures of the early-stopping study."""
