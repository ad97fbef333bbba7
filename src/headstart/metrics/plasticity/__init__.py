"""Whether a network can still learn."""
