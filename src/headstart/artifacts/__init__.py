"""Keyed artifacts: folders that are valid by their manifest, named by a key, and never changed."""
