"""Similarity and invariance of representations (arXiv 2307.06006)."""
