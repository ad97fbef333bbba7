"""Why and when does pre-training help? A reproducible study in three parts."""

__version__ = "0.2.0.dev0"
