import hashlib
from pathlib import Path

import pytest
import torch

from headstart.artifacts.files import file_sha256
from headstart.networks.build import build
from headstart.networks.network import NetworkError, every_block, late_blocks_replaced, truncated
from headstart.networks.own import read_source
from headstart.params.models import OwnNetwork

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn

@dataclass
class Options:
    width: int

def make(channels, image_size, width=6):
    options = Options(width)
    first = nn.Linear(channels * image_size**2, options.width)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU())

def maps(channels, image_size):
    return nn.Conv2d(channels, 4, 3)

def number(channels, image_size):
    return 7

def fails(channels, image_size):
    return nn.Linear(channels, -1)
"""


def own(
    tmp_path: Path, function: str = "make", source: str = SOURCE, **kwargs: object
) -> OwnNetwork:
    path = tmp_path / "mine.py"
    path.write_text(source)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return OwnNetwork(kind="file", path=str(path), function=function, sha256=digest, kwargs=kwargs)


def test_a_users_network_gets_its_arguments_and_its_feature_dimension_is_found(
    tmp_path: Path,
) -> None:
    network = build(own(tmp_path, width=9), 1, 8, 3, seed=0)
    assert network.feature_dimension == 9
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    assert [
        block.shape for block in every_block(network.backbone.eval())(torch.rand(2, 1, 8, 8))
    ] == [
        (2, 64),
        (2, 9),
        (2, 9),
    ]


BLOCKS = """
import torch
from torch import nn

class Mine(nn.Module):
    block_names = NAMES

    def __init__(self, size):
        super().__init__()
        self.tail = nn.ReLU(inplace=True)
        self.body = nn.ModuleDict({"one": nn.Linear(size, 5), "two": nn.Linear(5, 4)})

    def forward(self, images):
        first = self.body["one"](images.flatten(1))
        return torch.tanh(self.body["two"](self.tail(first)))

def make(channels, image_size):
    return Mine(channels * image_size**2)
"""


def test_blocks_of_a_users_network_are_those_it_names(tmp_path: Path) -> None:
    model = own(tmp_path, source=BLOCKS.replace("NAMES", "('body.one', 'tail', 'body.two')"))
    one, other = (build(model, 1, 4, 3, seed).backbone.eval() for seed in (0, 1))
    images = torch.rand(2, 1, 4, 4)
    layers = every_block(one)(images)
    first = one.body["one"](images.flatten(1))  # type: ignore[index]
    assert torch.equal(layers[0], first)  # not what the block after it makes of it in place
    assert torch.equal(layers[1], first.relu())
    assert torch.equal(torch.tanh(layers[2]), one(images))
    assert torch.equal(truncated(one, 1)(images), layers[1])
    mixed = late_blocks_replaced(one, other, 2)
    assert torch.equal(truncated(mixed, 1)(images), layers[1])
    assert torch.equal(mixed.body["two"].weight, other.body["two"].weight)  # type: ignore[index]


def test_a_block_that_does_not_exist_is_named(tmp_path: Path) -> None:
    model = own(tmp_path, source=BLOCKS.replace("NAMES", "('body.one', 'body.three')"))
    with pytest.raises(NetworkError, match=r"mine\.py:make: block_names \['body.three'\] are no"):
        build(model, 1, 4, 3, seed=0)


def test_an_edited_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    model = own(tmp_path)
    Path(model.path).write_text(SOURCE + "\n")
    with pytest.raises(
        NetworkError, match=rf"mine\.py: its sha256 is \w+, but the params say {model.sha256}"
    ):
        build(model, 1, 8, 3, seed=0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("absent", r"no function 'absent'; the file has .*make"),
        ("number", "torch.nn.Module is needed, found int"),
        ("maps", r"mine.py:maps: features \[2, d\] are needed .* found \(2, 4, 6, 6\)"),
        ("fails", "mine.py:fails: fails with channels=1, image_size=8"),
    ],
)
def test_a_function_that_makes_no_backbone_is_named(
    tmp_path: Path, function: str, message: str
) -> None:
    with pytest.raises(NetworkError, match=message):
        build(own(tmp_path, function), 1, 8, 3, seed=0)


MAIN = """
import math
import sys
from helpers.layers import hidden
import sizes

def make(channels, image_size):
    return hidden(channels * image_size**2, sizes.WIDTH)
"""
LAYERS = """
from torch import nn
from .activations import activation

def hidden(size, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(size, width), activation())
"""
FILES = {
    "mine.py": MAIN,
    "sizes.py": "WIDTH = 7",
    "unread.py": "WIDTH = 8",
    "helpers/layers.py": LAYERS,
    "helpers/activations.py": "from torch.nn import ReLU as activation",
}


def in_files(folder: Path, **changed: str) -> OwnNetwork:
    """Write a network of several files; return its params with the sha256 that `data add` writes."""
    for name, text in {**FILES, **changed}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    path = folder / "mine.py"
    digest = read_source(path).sha256
    return OwnNetwork(kind="file", path=str(path), function="make", sha256=digest)


def test_modules_beside_the_file_are_imported_and_hashed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = in_files(tmp_path / "one"), in_files(tmp_path / "other")
    assert one.sha256 == other.sha256 != file_sha256(Path(one.path))
    assert read_source(Path(own(tmp_path).path)).sha256 == own(tmp_path).sha256
    assert build(one, 1, 8, 3, seed=0).feature_dimension == 7
    wider = in_files(tmp_path / "wider", **{"sizes.py": "WIDTH = 9"})
    assert build(wider, 1, 8, 3, seed=0).feature_dimension == 9
    assert build(one, 1, 8, 3, seed=0).feature_dimension == 7
    monkeypatch.chdir(tmp_path / "one")
    assert read_source(Path("mine.py")).sha256 == one.sha256


@pytest.mark.parametrize("name", ["sizes.py", "helpers/layers.py", "helpers/activations.py"])
def test_an_edit_of_an_imported_module_is_refused_with_what_to_run(
    name: str, tmp_path: Path
) -> None:
    model = in_files(tmp_path)
    (tmp_path / "unread.py").write_text("WIDTH = 80")
    build(model, 1, 8, 3, seed=0)
    (tmp_path / name).write_text(FILES[name] + "\n# edited\n")
    expected = r"mine\.py \(with .*\): its sha256 is \w+, .*`headstart data add MODEL .*mine\.py:"
    with pytest.raises(NetworkError, match=expected) as refused:
        build(model, 1, 8, 3, seed=0)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nowhere_to_be_found", "imports 'nowhere_to_be_found', which is neither installed"),
        ("from .sizes import WIDTH", "a relative import, but a network file is in no package"),
    ],
)
def test_a_module_that_cannot_be_found_is_named(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=message):
        in_files(tmp_path, **{"mine.py": source})


def test_wrong_arguments_and_a_broken_file_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="unexpected keyword argument 'depth'"):
        build(own(tmp_path, depth=3), 1, 8, 3, seed=0)
    with pytest.raises(NetworkError, match=r"mine\.py: cannot be imported: SyntaxError"):
        build(own(tmp_path, source="def make(:\n"), 1, 8, 3, seed=0)
    model = own(tmp_path)
    Path(model.path).unlink()
    with pytest.raises(NetworkError, match=r"mine\.py: this network file cannot be read"):
        build(model, 1, 8, 3, seed=0)
