"""The archives that torchvision's datasets are made of: where they come from, and fetching them.

An archive is kept in `folder/<dataset>/` under its own name, complete and with the right checksum,
or not at all: it is downloaded aside and moved there when it is whole. It is unpacked anew for each
use, so that no run ever believes what a killed one had half unpacked.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from headstart.params.datasets import Torchvision, TorchvisionName
from headstart.tasks import TaskError

_PATIENCE = 60  # seconds without an answer


@dataclass(frozen=True)
class Archive:
    """A file to download: mirrors, md5, and where in its root torchvision looks for it."""

    urls: tuple[str, ...]
    md5: str
    place: str = "."

    @property
    def name(self) -> str:
        """Return the file's name, which all mirrors share."""
        return self.urls[0].rsplit("/", 1)[-1]


def archives(name: TorchvisionName) -> tuple[Archive, ...]:
    """Return the files that a torchvision dataset needs, as torchvision itself lists them.

    It does so in attributes of its classes, but for EuroSAT and Caltech101, whose lines here repeat
    it.
    """
    from torchvision import datasets

    dataset = getattr(datasets, name)
    if name in ("CIFAR10", "CIFAR100", "STL10"):
        return (Archive((dataset.url,), dataset.tgz_md5),)
    if name == "SVHN":
        listed = (dataset.split_list[part] for part in ("train", "test"))
        return tuple(Archive((url,), md5) for url, _, md5 in listed)
    if name == "EMNIST":
        return (Archive((dataset.url,), dataset.md5, "EMNIST/raw"),)
    if name in ("MNIST", "FashionMNIST", "KMNIST"):
        return tuple(
            Archive(tuple(mirror + file for mirror in dataset.mirrors), md5, f"{name}/raw")
            for file, md5 in dataset.resources
        )
    if name == "OxfordIIITPet":
        return tuple(Archive((url,), md5, "oxford-iiit-pet") for url, md5 in dataset._RESOURCES)
    if name == "Flowers102":
        prefix, files = dataset._download_url_prefix, dataset._file_dict.values()
        return tuple(Archive((prefix + file,), md5, "flowers-102") for file, md5 in files)
    return (_EUROSAT,) if name == "EuroSAT" else (_CALTECH101,)


_EUROSAT = Archive(
    (
        "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
        "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    ),
    "c8fa014336c82ac7804f0398fcb19387",
    "eurosat",
)
_CALTECH101 = Archive(
    ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
    "3138e1922a9193bfa496528edbbc45d0",
    "caltech101",
)


@contextmanager
def unpacking_root(path: str, dataset: Torchvision) -> Iterator[Path]:
    """Fetch a dataset's archives and lend a folder, removed at the end, for torchvision to use.

    Args:
        path: the params key of the dataset, for error messages.
        dataset: its params.

    Raises:
        TaskError: no network, a wrong checksum, or a folder that cannot be written.
    """
    home = Path(dataset.folder) / dataset.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix=".partial-", dir=home))
    except OSError as error:
        raise TaskError(f"{path}.folder: {home} cannot be written ({error.strerror})") from None
    try:
        needed = archives(dataset.name)
        missing = [archive for archive in needed if not (home / archive.name).exists()]
        by_hand = f"download {_list(missing)} elsewhere and put it into {home}/"
        for archive in needed:
            file = home / archive.name
            if archive in missing:
                _download(path, archive, file, root / "download", by_hand)
            else:
                _verify(file, archive)
            (root / archive.place).mkdir(parents=True, exist_ok=True)
            _link(file, root / archive.place / archive.name)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _verify(file: Path, archive: Archive) -> None:
    """Refuse a file, from an earlier run or put there by hand, with a wrong checksum."""
    from torchvision.datasets.utils import calculate_md5

    found = calculate_md5(file)
    if found != archive.md5:
        raise TaskError(
            f"{file}: its md5 is {found}, not {archive.md5}; delete the file to have it "
            f"downloaded, or put that of {archive.urls[0]} in its place"
        )


def _list(missing: list[Archive]) -> str:
    """Return the addresses that a person would have to visit."""
    return " and ".join(archive.urls[0] for archive in missing)


def _download(path: str, archive: Archive, file: Path, scratch: Path, by_hand: str) -> None:
    """Try the mirrors in turn; move the file to its place once its checksum is right."""
    problems = []
    for url in archive.urls:
        try:
            _download_from(url, archive, scratch)
            (scratch / archive.name).replace(file)
            return
        except RuntimeError:  # torchvision's word for a wrong checksum
            problems.append(
                f"{path}: {url} does not have the md5 {archive.md5}; try again later, or {by_hand}"
            )
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            problems.append(f"{path}: cannot download {url} ({reason}); {by_hand}")
    raise TaskError(problems[0])


def _download_from(url: str, archive: Archive, scratch: Path) -> None:
    from torchvision.datasets.utils import download_url

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        download_url(url, scratch, archive.name, archive.md5)
    finally:
        socket.setdefaulttimeout(patience)


def _link(file: Path, place: Path) -> None:
    try:
        place.hardlink_to(file)
    except OSError:  # a file system without links
        shutil.copyfile(file, place)
