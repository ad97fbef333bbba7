"""Single pictures to arrays of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from headstart.tasks import TaskError

Resize = Literal["crop", "squash"]


def open_picture(path: Path) -> Image.Image:
    """Decode an image file wholly. EXIF orientation is ignored, as torchvision ignores it.

    Raises:
        TaskError: it does not decode.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, …
        reason = f"{path}: this image does not decode ({error}); replace the file or remove it"
        raise TaskError(reason) from None


def to_array(
    image: Image.Image, channels: int, size: int, resize: Resize
) -> UInt8[np.ndarray, "channels size size"]:
    """Convert to grey or RGB and resize, bicubic with antialiasing.

    'crop' brings the shorter side to `size` and cuts out the middle; 'squash' brings both sides to
    it. Transparency is dropped; 16-bit grey is scaled to 8 bits.
    """
    image = resized(with_channels(image, channels), size, resize)
    return channels_first(image)


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return the image in grey (1 channel) or RGB (3), 8 bits per channel."""
    if image.mode.startswith("I"):  # 16 bits; 65535 = 255 * 257
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    return image.convert("L" if channels == 1 else "RGB")


def resized(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    """Return a square image of side `size`."""
    if image.size == (size, size):
        return image
    if resize == "squash":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    width, height = image.size
    scale = size / min(width, height)
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    return image.crop((left, top, left + size, top + size))


def channels_first(image: Image.Image) -> UInt8[np.ndarray, "channels height width"]:
    """Return the pixels of a grey or RGB image as [C, H, W]."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
