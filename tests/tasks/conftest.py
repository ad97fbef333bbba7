"""Small datasets that tests of tasks share."""

import numpy as np
import pytest
import torch

from headstart.tasks.task import StoredDataset, TrainImages


@pytest.fixture
def animals() -> StoredDataset:
    """Three classes with 12 training and 4 test images each; pixel (0, 0) numbers the images."""
    labels = torch.arange(3).repeat_interleave(16)
    images = torch.zeros(48, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(48)
    test = (torch.arange(48) % 4 == 0).to(torch.uint8)
    return StoredDataset(images, labels, test, ("cat", "dog", "fish"), {"pets": ("cat", "dog")})


@pytest.fixture
def noise() -> TrainImages:
    """One hundred random RGB images of 8 × 8 in two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (100, 3, 8, 8), dtype=np.uint8)
    return TrainImages(torch.from_numpy(pixels), torch.arange(100) % 2, ("even", "odd"))
