"""Figures of the study of knowledge."""
