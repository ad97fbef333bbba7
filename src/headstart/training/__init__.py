"""Training: the one loop of every arm, its schedules, optimisers, evaluation and checkpoints."""
