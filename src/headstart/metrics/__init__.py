"""Mathematics on tensors: no files, no params, no choice of device."""
