"""One image file as pixels: what Pillow decodes, turned upright, on a background, in 8 bits."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from headstart.params.datasets import Background
from headstart.tasks import TaskError

Resize = Literal["crop", "squash"]
COLOURS: dict[Background, int] = {"white": 255, "grey": 128, "black": 0}
# Formats that ask other programs, or that Pillow identifies but does not read.
UNREAD = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# Those that a file says it is by its first bytes, for files whose suffix says nothing.
BY_CONTENT = {"JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000"}
ORIENTATION = 0x0112
# One side over the other; a longer image would be enormous once its shorter side has the wanted size.
THINNEST = 1000
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shown(path: Path | str) -> str:
    """Return a name on one line that any terminal can print."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
    return "".join(escaped)


@dataclass(frozen=True)
class Facts:
    """What is to be said of an image.

    Attributes:
        digest: sha256 of its size and its pixels in RGB; equal pictures have equal ones.
        size: (width, height).
        orientation: EXIF orientation, 1 where it was upright.
        transparent: some pixel is not opaque.
        only_alpha: all that is visible has one colour, so that the picture is the alpha channel.
        plain: all pixels have one colour.
        frames: there are more than the first.
        deep: more than 8 bits per pixel and channel.
    """

    digest: str
    size: tuple[int, int]
    grey: bool
    orientation: int
    transparent: bool
    only_alpha: bool
    plain: bool
    frames: bool
    deep: bool


@cache
def _formats() -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the formats that are read, and the suffixes that promise one."""
    suffixes = Image.registered_extensions()
    formats = tuple(name for name in Image.OPEN if name not in UNREAD)
    return formats, frozenset(suffix for suffix, name in suffixes.items() if name in formats)


def is_picture(path: Path) -> bool:
    """Return whether the suffix of a file promises an image, or its first bytes are those of one."""
    if promises_picture(path):
        return True
    formats = [name for name in _formats()[0] if name in BY_CONTENT]
    try:
        with _without_warnings(), Image.open(path, formats=formats):
            return True
    except Exception:  # decoders raise OSError, SyntaxError, ValueError, struct.error, …
        return False


def promises_picture(path: Path) -> bool:
    """Return whether the suffix of a file is that of a format that is read."""
    return path.suffix.lower() in _formats()[1]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore what Pillow says of large photographs and of metadata that nobody reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def look(path: Path, background: Background = "white") -> tuple[Facts, Image.Image]:
    """Decode the first frame of an image file wholly, as people see it.

    It is turned upright by its EXIF orientation, and what is transparent stands on a background. The
    mode of an image that needs neither stays what it is in the file.

    Raises:
        TaskError: it does not decode, holds more pixels than Pillow thinks safe, or numbers that are no
            brightness.
    """
    try:
        with _without_warnings(), _opened(path) as image:
            orientation = _orientation(image)
            image.load()
            # Pillow itself turns some formats.
            left = _orientation(image)
            upright = image.transpose(TURNS[left]) if left in TURNS else image.copy()
            return _facts(upright, background, orientation, _several_frames(image))
    except Image.DecompressionBombError as error:
        reason = f"{shown(path)}: too large ({error}); scale the image down or remove it"
        raise TaskError(reason) from None
    except Exception as error:  # see `is_picture`
        reason = " ".join(shown(str(error)).split()) or type(error).__name__
        raise TaskError(
            f"{shown(path)}: this image does not decode ({reason}); replace the file or remove it"
        ) from None


def _opened(path: Path) -> Image.Image:
    """Open an image; of a PNG, compare the checksums, which reading its pixels does not."""
    image = Image.open(path, formats=_formats()[0])
    if image.format != "PNG":
        return image
    with image:
        image.verify()
    return Image.open(path, formats=("PNG",))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 where there is none, or EXIF that nobody can read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # see `is_picture`
        return 1


def _several_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # frames that nobody reads may be damaged
        return False


def _facts(
    image: Image.Image, background: Background, orientation: int, frames: bool
) -> tuple[Facts, Image.Image]:
    if max(image.size) > THINNEST * min(image.size):
        raise ValueError(f"its sides are {image.width:,} and {image.height:,} pixels, a line")
    grey, deep = image.mode in ("1", "L", "LA", "La"), image.mode[0] in "IF"
    transparent = only_alpha = False
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        transparent = bool(alpha.min() < 255)
        if transparent:
            only_alpha = alpha.min() != alpha.max() and _one_colour(np.asarray(rgba)[alpha > 0])
            under = Image.new("RGBA", rgba.size, (COLOURS[background],) * 3 + (255,))
            image = Image.alpha_composite(under, rgba).convert("RGB")
        elif image.mode == "P":
            image = rgba.convert("RGB")
    colours = with_channels(image, 3)
    pixels = np.asarray(colours)
    digest = hashlib.sha256(repr(colours.size).encode() + colours.tobytes()).hexdigest()
    facts = Facts(
        digest,
        image.size,
        grey=grey or deep,
        orientation=orientation if orientation in TURNS else 1,
        transparent=transparent,
        only_alpha=only_alpha,
        plain=_one_colour(pixels.reshape(-1, 3)),
        frames=frames,
        deep=deep,
    )
    return facts, image


def _one_colour(pixels: UInt8[np.ndarray, "pixels channels"]) -> bool:
    """Return whether all pixels have the same red, green and blue."""
    return bool((pixels[:, :3] == pixels[:1, :3]).all())


def to_array(
    image: Image.Image, channels: int, size: int, resize: Resize
) -> UInt8[np.ndarray, "channels size size"]:
    """Convert to grey or RGB and resize, bicubic with antialiasing.

    'crop' brings the shorter side to `size` and cuts out the middle; 'squash' brings both sides to
    it. 16-bit grey is scaled to 8 bits.
    """
    image = resized(with_channels(image, channels), size, resize)
    return channels_first(image)


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return the image in grey (1 channel) or RGB (3), 8 bits per channel.

    Raises:
        ValueError: its numbers are no brightness, such as heights in metres.
    """
    if image.mode[0] in "IF":
        image = Image.fromarray(_eight_bits(np.asarray(image), whole=image.mode[0] == "I"))
    return image.convert("L" if channels == 1 else "RGB")


def _eight_bits(pixels: np.ndarray, *, whole: bool) -> UInt8[np.ndarray, "height width"]:
    """Scale 16-bit numbers, or shares of white, to 0..255; numbers with a point up to 255 stay."""
    low, high = float(pixels.min()), float(pixels.max())
    white = 257 * 255 if whole else 1 if high <= 1 else 255
    if not 0 <= low <= high <= white:  # NaN too
        raise ValueError(
            f"its pixels are numbers from {low:g} to {high:g}, not brightness in 8 or 16 bits"
        )
    return np.rint(pixels / 257 if whole else pixels * (255 / white)).astype(np.uint8)


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
