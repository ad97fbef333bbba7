"""Tiny datasets in the real file formats of those that torchvision downloads.

Every function writes archives into a folder and points torchvision's class at `server`.
"""

import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv
from PIL import Image
from scipy.io import savemat

from headstart.tasks import downloads, vision

Patch = pytest.MonkeyPatch
RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def tar(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return md5(path.read_bytes())


def zipped(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return md5(path.read_bytes())


def jpeg(width: int = 20, height: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(height, width, 3)).save(buffer, "JPEG")
    return buffer.getvalue()


def mat(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays)
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def cifar10(patch: Patch, folder: Path, server: str) -> None:
    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    files = {
        name: pickle.dumps({"data": pixels(4, 3072), "labels": [0, 1, 2, 3]}) for name in batches
    }
    files["batches.meta"] = pickle.dumps({"label_names": ["plane", "car", "bird", "cat"]})
    _cifar(patch, folder, server, tv.CIFAR10, files)


def cifar100_(patch: Patch, folder: Path, server: str) -> None:
    groups = vision.cifar100_groups()
    names = sorted(groups["living"] + groups["non_living"])
    files = {
        part: pickle.dumps({"data": pixels(100, 3072), "fine_labels": list(range(100))})
        for part in ("train", "test")
    }
    files["meta"] = pickle.dumps({"fine_label_names": names})
    _cifar(patch, folder, server, tv.CIFAR100, files)


def _cifar(patch: Patch, folder: Path, server: str, kind: type, files: dict[str, bytes]) -> None:
    base = kind.base_folder  # type: ignore[attr-defined]
    packed = {f"{base}/{name}": data for name, data in files.items()}
    for list_name in ("train_list", "test_list"):
        listed = [[name, md5(files[name])] for name, _ in getattr(kind, list_name)]
        patch.setattr(kind, list_name, listed)
    meta = kind.meta  # type: ignore[attr-defined]
    patch.setattr(kind, "meta", {**meta, "md5": md5(files[meta["filename"]])})
    patch.setattr(kind, "tgz_md5", tar(folder / kind.filename, packed))  # type: ignore[attr-defined]
    patch.setattr(kind, "url", server + kind.filename)  # type: ignore[attr-defined]


def mnist(name: str) -> Callable[[Patch, Path, str], None]:
    def make(patch: Patch, folder: Path, server: str) -> None:
        kind = getattr(tv, name)
        resources = []
        for file, _ in kind.resources:
            labels = np.arange(10, dtype=np.uint8)
            data = idx(pixels(10, 28, 28) if "images" in file else labels)
            (folder / file).write_bytes(data)
            resources.append((file, md5(data)))
        patch.setattr(kind, "resources", resources)
        patch.setattr(kind, "mirrors", [server])

    return make


def emnist(patch: Patch, folder: Path, server: str) -> None:
    upright = np.zeros((26, 28, 28), dtype=np.uint8)
    upright[:, 2, :] = 255  # a bar along the top, published as a bar along the left side
    files = {}
    for part in ("train", "test"):
        prefix = f"gzip/emnist-letters-{part}"
        files[f"{prefix}-images-idx3-ubyte.gz"] = idx(upright.swapaxes(1, 2).copy())
        files[f"{prefix}-labels-idx1-ubyte.gz"] = idx(np.arange(1, 27, dtype=np.uint8))
    patch.setattr(tv.EMNIST, "md5", zipped(folder / "gzip.zip", files))
    patch.setattr(tv.EMNIST, "url", server + "gzip.zip")


def svhn(patch: Patch, folder: Path, server: str) -> None:
    listed = dict(tv.SVHN.split_list)
    for part in ("train", "test"):
        digits = np.arange(1, 11).reshape(10, 1)
        data = mat(X=pixels(32, 32, 3, 10), y=digits)
        name = f"{part}_32x32.mat"
        (folder / name).write_bytes(data)
        listed[part] = [server + name, name, md5(data)]
    patch.setattr(tv.SVHN, "split_list", listed)


def stl10(patch: Patch, folder: Path, server: str) -> None:
    labels = np.arange(1, 11, dtype=np.uint8).tobytes()
    images = {f"{part}_X.bin": pixels(10, 3, 96, 96).tobytes() for part in ("train", "test")}
    files = {**images, "train_y.bin": labels, "test_y.bin": labels}
    files["unlabeled_X.bin"] = pixels(1, 3, 96, 96).tobytes()
    files["class_names.txt"] = "\n".join(f"class{i}" for i in range(10)).encode()
    files["fold_indices.txt"] = b""
    for list_name in ("train_list", "test_list"):
        listed = [[name, md5(files[name])] for name, _ in getattr(tv.STL10, list_name)]
        patch.setattr(tv.STL10, list_name, listed)
    packed = {f"stl10_binary/{name}": data for name, data in files.items()}
    patch.setattr(tv.STL10, "tgz_md5", tar(folder / tv.STL10.filename, packed))
    patch.setattr(tv.STL10, "url", server + tv.STL10.filename)


def eurosat(patch: Patch, folder: Path, server: str) -> None:
    names = [f"2750/{name}/{name}_{i}.jpg" for name in ("Forest", "River") for i in range(1, 6)]
    code = zipped(folder / "EuroSAT.zip", {name: jpeg(64, 64) for name in names})
    _repoint(patch, "eurosat", "_EUROSAT", server + "EuroSAT.zip", code)


def caltech101(patch: Patch, folder: Path, server: str) -> None:
    classes = {"BACKGROUND_Google": 1, "Faces": 5, "camera": 5}
    names = [f"{name}/image_{i:04d}.jpg" for name, n in classes.items() for i in range(1, n + 1)]
    inner = folder / "inner.tar.gz"
    tar(inner, {f"101_ObjectCategories/{name}": jpeg() for name in names})
    files = {"caltech-101/101_ObjectCategories.tar.gz": inner.read_bytes()}
    code = zipped(folder / "caltech-101.zip", files)
    _repoint(patch, "caltech", "_CALTECH101", server + "caltech-101.zip", code)


def _repoint(patch: Patch, module: str, constant: str, url: str, code: str) -> None:
    """Replace an address and a checksum that stand inside a method of torchvision's."""
    real = getattr(tv, module).download_and_extract_archive

    def redirected(_: str, md5: str, **arguments: str) -> None:
        real(url, md5=code, **arguments)

    patch.setattr(getattr(tv, module), "download_and_extract_archive", redirected)
    place = getattr(downloads, constant).place
    patch.setattr(downloads, constant, downloads.Archive((url,), code, place))


def pets(patch: Patch, folder: Path, server: str) -> None:
    names = [f"{name}_{i}" for name in ("Abyssinian", "great_pyrenees") for i in (1, 2, 3)]
    images = {f"images/{name}.jpg": jpeg(20 + i, 16) for i, name in enumerate(names)}
    rows = [f"{name} {1 + name.startswith('great')} 1 1\n" for name in names]
    lists = {
        "annotations/trainval.txt": "".join(rows[0:2] + rows[3:5]).encode(),
        "annotations/test.txt": "".join(rows[2:3] + rows[5:6]).encode(),
    }
    resources = (
        (server + "images.tar.gz", tar(folder / "images.tar.gz", images)),
        (server + "annotations.tar.gz", tar(folder / "annotations.tar.gz", lists)),
    )
    patch.setattr(tv.OxfordIIITPet, "_RESOURCES", resources)


def flowers(patch: Patch, folder: Path, server: str) -> None:
    images = {f"jpg/image_{i:05d}.jpg": jpeg(20 + i, 16) for i in range(1, 7)}
    parts = {"trnid": np.array([1, 2]), "valid": np.array([3, 4]), "tstid": np.array([5, 6])}
    mats = {
        "imagelabels.mat": mat(labels=np.array([[1, 2, 1, 2, 1, 2]])),
        "setid.mat": mat(**parts),
    }
    files = {"image": ("102flowers.tgz", tar(folder / "102flowers.tgz", images))}
    for key, (name, data) in zip(("label", "setid"), mats.items(), strict=True):
        (folder / name).write_bytes(data)
        files[key] = (name, md5(data))
    patch.setattr(tv.Flowers102, "_file_dict", files)
    patch.setattr(tv.Flowers102, "_download_url_prefix", server)


MAKERS: dict[str, Callable[[Patch, Path, str], None]] = {
    "CIFAR10": cifar10,
    "CIFAR100": cifar100_,
    "MNIST": mnist("MNIST"),
    "FashionMNIST": mnist("FashionMNIST"),
    "KMNIST": mnist("KMNIST"),
    "EMNIST": emnist,
    "SVHN": svhn,
    "STL10": stl10,
    "EuroSAT": eurosat,
    "OxfordIIITPet": pets,
    "Flowers102": flowers,
    "Caltech101": caltech101,
}


def spoil(path: Path) -> None:
    """Change the last byte of a file."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def empty(folder: Path) -> None:
    """Delete a folder's content."""
    shutil.rmtree(folder)
    folder.mkdir()
