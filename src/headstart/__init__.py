"""Why and when does pre-training help? A reproducible study in three parts."""
