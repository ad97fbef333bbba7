"""Images and labels: datasets, their splits into tasks, shots, and batches on the device."""
