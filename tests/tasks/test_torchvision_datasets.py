import inspect
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv
from torchvision_files import MAKERS, empty, spoil

from headstart.params.datasets import Torchvision
from headstart.tasks import TaskError, downloads, vision
from headstart.tasks.storage import Contents

EXPECTED = {  # training images, test images, classes, shape
    "CIFAR10": (20, 4, 4, (3, 32, 32)),
    "CIFAR100": (100, 100, 100, (3, 32, 32)),
    "MNIST": (10, 10, 10, (1, 28, 28)),
    "FashionMNIST": (10, 10, 10, (1, 28, 28)),
    "KMNIST": (10, 10, 10, (1, 28, 28)),
    "EMNIST": (26, 26, 26, (1, 28, 28)),
    "SVHN": (10, 10, 10, (3, 32, 32)),
    "STL10": (10, 10, 10, (3, 96, 96)),
    "EuroSAT": (8, 2, 2, (3, 64, 64)),
    "OxfordIIITPet": (4, 2, 2, (3, 12, 12)),
    "Flowers102": (4, 2, 2, (3, 12, 12)),
    "Caltech101": (8, 2, 2, (3, 12, 12)),
}
MANY_SIZES = ("OxfordIIITPet", "Flowers102", "Caltech101")


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # torchvision hangs up on its first request without reading the answer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def server(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), partial(Handler, directory=str(site))) as httpd:
        thread = threading.Thread(target=partial(httpd.serve_forever, poll_interval=0.02))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


def make(name: str, folder: Path, **fields: object) -> Contents:
    fields = {"size": 12 if name in MANY_SIZES else None, **fields}
    section = {"kind": "torchvision", "name": name, "folder": str(folder), **fields}
    return vision.make("datasets.x", Torchvision.model_validate(section))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_dataset_is_downloaded_once_and_read_wholly(
    name: str, folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS[name](monkeypatch, site, server)
    contents = make(name, folder)
    train, test, classes, shape = EXPECTED[name]
    assert (contents.test == 0).sum() == train
    assert contents.test.sum() == test
    assert contents.images.shape == (train + test, *shape)
    assert len(contents.classes) == len(set(contents.labels)) == classes
    assert contents.source.startswith(server)

    kept = files(folder)
    assert kept == {f"{name}/{archive.name}" for archive in downloads.archives(name)}
    empty(site)
    again = make(name, folder)
    np.testing.assert_array_equal(again.images, contents.images)
    np.testing.assert_array_equal(again.labels, contents.labels)
    assert files(folder) == kept


@pytest.mark.parametrize("name", EXPECTED)
def test_without_a_network_the_error_says_each_address_and_where_to_put_the_files(
    name: str, folder: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    MAKERS[name](monkeypatch, site, "http://127.0.0.1:9/")
    with pytest.raises(TaskError) as caught:
        make(name, folder)
    message = str(caught.value)
    assert message.startswith("datasets.x: cannot download http://127.0.0.1:9/")
    for archive in downloads.archives(name):
        assert f" http://127.0.0.1:9/{archive.name} " in message
    assert message.endswith(f" elsewhere and put it into {folder / name}/")
    assert "\n" not in message
    assert files(folder) == set()


@pytest.mark.parametrize("name", EXPECTED)
def test_files_put_there_by_hand_need_no_network(
    name: str, folder: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS[name](monkeypatch, site, "http://127.0.0.1:9/")
    (folder / name).mkdir(parents=True)
    for archive in downloads.archives(name):
        (site / archive.name).rename(folder / name / archive.name)
    assert len(make(name, folder).labels) == sum(EXPECTED[name][:2])


def test_a_download_with_a_wrong_checksum_is_refused_and_not_kept(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["CIFAR10"](monkeypatch, site, server)
    spoil(site / tv.CIFAR10.filename)
    with pytest.raises(TaskError, match=r"cifar-10-python\.tar\.gz does not have the md5 [0-9a-f]"):
        make("CIFAR10", folder)
    assert files(folder) == set()


def test_a_file_on_disk_with_a_wrong_checksum_is_named_and_left_alone(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["CIFAR10"](monkeypatch, site, server)
    make("CIFAR10", folder)
    spoil(folder / "CIFAR10" / tv.CIFAR10.filename)
    with pytest.raises(TaskError, match=r"CIFAR10/cifar-10-python\.tar\.gz: its md5 is .* delete"):
        make("CIFAR10", folder)
    assert files(folder) == {"CIFAR10/cifar-10-python.tar.gz"}


def test_a_download_that_is_cut_off_is_not_kept(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["MNIST"](monkeypatch, site, server)
    send = Handler.copyfile

    def cut(self: Handler, source: object, output: object) -> None:
        if "labels" in self.path:
            self.close_connection = True
            return
        send(self, source, output)  # type: ignore[arg-type]

    monkeypatch.setattr(Handler, "copyfile", cut)
    with pytest.raises(TaskError, match=r"train-labels-idx1-ubyte\.gz"):
        make("MNIST", folder)
    assert files(folder) == {"MNIST/train-images-idx3-ubyte.gz"}


def test_the_next_mirror_is_tried(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["MNIST"](monkeypatch, site, server)
    monkeypatch.setattr(tv.MNIST, "mirrors", ["http://127.0.0.1:9/", server])
    assert len(make("MNIST", folder).labels) == 20


def test_what_a_killed_run_left_is_not_believed(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["EuroSAT"](monkeypatch, site, server)
    half = folder / "EuroSAT" / ".partial-abc" / "eurosat" / "2750" / "Forest"
    half.mkdir(parents=True)
    (folder / "EuroSAT" / "eurosat" / "2750").mkdir(parents=True)
    assert len(make("EuroSAT", folder).labels) == 10


def test_images_of_many_sizes_need_a_size(folder: Path) -> None:
    for name in MANY_SIZES:
        with pytest.raises(TaskError, match=rf"datasets\.x\.size: null, but the images of {name}"):
            make(name, folder, size=None)
    assert not folder.exists()


def test_size_and_channels_are_converted(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["MNIST"](monkeypatch, site, server)
    assert make("MNIST", folder, size=16, channels=3).images.shape == (20, 3, 16, 16)


def test_emnist_is_upright(
    folder: Path, site: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["EMNIST"](monkeypatch, site, server)
    contents = make("EMNIST", folder)
    assert contents.classes == tuple("abcdefghijklmnopqrstuvwxyz")
    assert contents.images[0, 0, 2].tolist() == [255] * 28


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TaskError, match=r"datasets\.x\.folder: .*file/CIFAR10 cannot be written"):
        make("CIFAR10", tmp_path / "file")


def test_addresses_repeated_here_are_those_of_torchvision() -> None:
    for kind in (tv.EuroSAT, tv.Caltech101):
        (archive,) = downloads.archives(kind.__name__)
        source = inspect.getsource(kind.download)
        assert archive.urls[0] in source
        assert archive.md5 in source


@pytest.mark.parametrize("name", EXPECTED)
def test_every_archive_has_an_address_and_a_checksum(name: str) -> None:
    for archive in downloads.archives(name):
        assert archive.urls[0].startswith("http")
        assert len(archive.md5) == 32


def test_cifar100_has_twenty_superclasses_living_or_not() -> None:
    groups = vision.cifar100_groups()
    living, non_living = set(groups.pop("living")), set(groups.pop("non_living"))
    assert (len(groups), len(living), len(non_living)) == (20, 65, 35)
    assert not living & non_living
    assert all(len(set(members)) == 5 for members in groups.values())
    for members in groups.values():
        assert set(members) <= living or set(members) <= non_living
