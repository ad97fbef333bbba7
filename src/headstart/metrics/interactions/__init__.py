"""Game-theoretic interactions between the parts of an input (arXiv 2410.08455)."""
