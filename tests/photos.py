"""A study on a folder of PNG files, for tests of what a person brings along."""

from pathlib import Path

import numpy as np
from PIL import Image

PARAMS = """
datasets:
  photos: {kind: image_folder, path: photos, size: 12, channels: 1}
tasks:
  birds: {dataset: photos, classes: [crow, gull], validation_per_class: 2}
  fish: {dataset: photos, classes: [carp, pike], validation_per_class: 2}
models:
  convnet: {kind: convnet, width: 4}
pretrain:
  convnet: {sources: [birds], seeds: [0], epochs: 1, learning_rate: 0.1}
transfer:
  convnet:
    finetune:
      mode: finetune
      targets: [fish]
      source_epochs: [0, best]
      shots: [2]
      draws: [0]
      learning_rates: [0.1]
      epochs: 1
"""


def write_photos(folder: Path) -> None:
    """Write twelve PNG files for each of four classes."""
    generator = np.random.default_rng(0)
    for name in ("crow", "gull", "carp", "pike"):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            pixels = generator.integers(0, 256, (14, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
