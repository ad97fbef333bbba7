"""Which checkpoint to fine-tune, and at which rate: what is read of it, what chooses, and what a choice costs."""
