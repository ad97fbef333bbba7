"""Images in a folder of class folders, or in `train/` and `test/` with class folders in each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from headstart.artifacts.keys import derive_seed
from headstart.params.datasets import ImageFolder
from headstart.tasks import TaskError
from headstart.tasks.storage import Contents, stratified_test

SUFFIXES = (".jpg", ".jpeg", ".png")


Resize = Literal["crop", "squash"]


@dataclass(frozen=True)
class ImageFile:
    """An image file, its class, and the part it belongs to; None where the folder is not split."""

    path: Path
    class_name: str
    part: Literal["train", "test"] | None


def find_images(folder: Path) -> list[ImageFile]:
    """List the images of a folder, sorted by part, class and path.

    Folders inside a class folder belong to the class. Hidden files and folders do not count, nor do
    files that are no JPEG or PNG by their suffix.

    Raises:
        TaskError: there is no such folder, it has no class folders, or a class has no image.
    """
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder; correct `path`")
    names = _subfolders(folder)
    if not {"train", "test"} <= set(names):
        if "train" in names and _subfolders(folder / "train"):
            raise TaskError(
                f"{folder}: has train/ but no test/; name the test part test/, or move the class "
                "folders out of train/ to have a test part drawn"
            )
        return _find_classes(folder, None)
    for name in names:
        if name not in ("train", "test"):
            raise TaskError(f"{folder / name}: stands beside train/ and test/; move it elsewhere")
    train, test = _find_classes(folder / "train", "train"), _find_classes(folder / "test", "test")
    known = {image.class_name for image in train}
    for image in test:
        if image.class_name not in known:
            raise TaskError(
                f"{folder / 'test' / image.class_name}: train/ has no such class; move it elsewhere"
            )
    return train + test


def content_hash(folder: Path) -> str:
    """Return the sha256 of an image folder: of the relative paths and the bytes of its images.

    Raises:
        TaskError: as `find_images`.
    """
    digest = hashlib.sha256()
    for image in find_images(folder):
        with image.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{image.path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def make(path: str, dataset: ImageFolder) -> Contents:
    """Read all images of a folder whose content is the one that `headstart data add` noted.

    Classes are the sorted names of the class folders. Where the folder is not split,
    `test_fraction` of each class becomes the test part.

    Args:
        path: the params key of the dataset, for error messages.
        dataset: its params.

    Raises:
        TaskError: as `find_images`, or the folder changed, or an image does not decode.
    """
    folder = Path(dataset.path)
    _verify(path, dataset, content_hash(folder))
    files = find_images(folder)
    classes = sorted({file.class_name for file in files})
    labels = np.array([classes.index(file.class_name) for file in files], dtype=np.int64)
    test = np.array([file.part == "test" for file in files], dtype=np.uint8)
    if not test.any():
        test = stratified_test(labels, dataset.test_fraction, dataset.seed)
    kept = _kept(dataset, labels, test)
    images = np.empty((len(kept), dataset.channels, dataset.size, dataset.size), dtype=np.uint8)
    for index, position in enumerate(kept):
        picture = open_picture(files[position].path)
        images[index] = to_array(picture, dataset.channels, dataset.size, dataset.resize)
    return Contents(
        images=images,
        labels=labels[kept],
        test=test[kept],
        classes=tuple(classes),
        groups=dataset.groups,
        licence="that of the images",
        source=f"image folder {dataset.path}",
    )


def _kept(
    dataset: ImageFolder, labels: Int64[np.ndarray, " files"], test: UInt8[np.ndarray, " files"]
) -> Int64[np.ndarray, " images"]:
    """Return the positions of the images that are read, ascending; fewer are among more."""
    kept = []
    for part, limit in enumerate((dataset.train_per_class, dataset.test_per_class)):
        for label in np.unique(labels):
            members = np.flatnonzero((labels == label) & (test == part))
            seed = derive_seed("images of a class", dataset.seed, part, int(label))
            order = members if limit is None else np.random.default_rng(seed).permutation(members)
            kept.append(order[:limit])
    return np.sort(np.concatenate(kept))


def _verify(path: str, dataset: ImageFolder, found: str) -> None:
    command = f"`headstart data add {path.removeprefix('datasets.')} {dataset.path}`"
    if dataset.sha256 is None:
        raise TaskError(f"{path}.sha256: missing for the folder {dataset.path}; run {command}")
    if dataset.sha256 != found:
        raise TaskError(
            f"{path}.sha256: the folder {dataset.path} changed since it was added, from "
            f"{dataset.sha256[:12]}… to {found[:12]}…; undo that, or run {command} to accept it"
        )


def _find_classes(root: Path, part: Literal["train", "test"] | None) -> list[ImageFile]:
    names = _subfolders(root)
    expected = f"each class needs a folder with images in it ({', '.join(SUFFIXES)})"
    if not names:
        raise TaskError(f"{root}: no class folders in it; {expected}")
    images = []
    for name in names:
        found = image_files(root / name)
        if not found:
            raise TaskError(f"{root / name}: no image of this class; {expected}")
        images += [ImageFile(path, name, part) for path in found]
    return images


def _subfolders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """Return the images below a folder by their paths; hidden ones, and those in hidden folders, do not count."""
    relative = (path.relative_to(folder) for path in folder.rglob("*"))
    images = [
        path
        for path in relative
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)
    ]
    return [folder / path for path in sorted(images, key=lambda path: path.as_posix())]


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
