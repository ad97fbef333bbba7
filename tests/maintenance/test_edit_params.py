"""`headstart set` changes values and keeps what the author of the file wrote around them."""

from pathlib import Path

import pytest

from headstart.maintenance.edit_params import set_values
from headstart.params.reading import ParamsError
from headstart.registry import load

PARAMS = """\
# my study
datasets:
  glyphs: {kind: glyphs, size: 8}  # small
tasks:
  latin: {dataset: glyphs, classes: latin}
models: {net: {kind: convnet, width: 4}}
pretrain:
  net: {sources: [latin], seeds: [0, 1], epochs: 4, learning_rate: 0.1}
trajectory:
  net:
    first: &first
      targets: [latin]   # itself
      source_epochs: [4]
      learning_rate: 0.1
      epochs: 3
    second:
      <<: *first
      target_seeds: [1]
"""


@pytest.fixture
def file(project: Path) -> Path:
    path = project / "params.yaml"
    path.write_text(PARAMS)
    return path


def test_a_value_is_set_and_comments_stay(file: Path) -> None:
    said = set_values(["trajectory.net.second.epochs=10", "datasets.glyphs.size=12"], file)
    assert "trajectory.net.second.epochs: 3 → 10" in said
    assert "datasets.glyphs.size: 8 → 12" in said
    text = file.read_text()
    assert all(comment in text for comment in ("# my study", "# small", "# itself", "<<: *first"))
    arms = load(file).trajectory["net"]
    assert (arms["first"].epochs, arms["second"].epochs) == (3, 10)


def test_what_changes_with_it_by_an_alias_is_said(file: Path) -> None:
    said = set_values(["trajectory.net.first.epochs=5"], file).splitlines()
    assert "trajectory.net.first.epochs: 3 → 5" in said
    assert "trajectory.net.second.epochs: 3 → 5  (it takes over what changed, by its alias)" in said


def test_sections_lists_and_places_in_lists_are_set(file: Path) -> None:
    set_values(
        ["figures.confidence=0.9", "pretrain.net.seeds=[0, 3]", "pretrain.net.seeds.1=7"], file
    )
    params = load(file)
    assert params.figures.confidence == 0.9
    assert params.pretrain["net"].seeds == (0, 7)
    assert set_values(["figures.confidence=0.9"], file).endswith("has these values already")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("pretrain.net.epohs=3", "did you mean 'epochs'"),
        ("pretrain.net.epochs=many", "should be a whole number, found 'many'"),
        ("pretrain.net.epochs", "not of the form section.name=value"),
        ("pretrain.net.epochs.first=3", "which is no section|holds 4"),
        ("pretrain.net.seeds.5=3", "'5' is no place in a list of 2"),
        ("pretrain.net.seeds=[1", "the value is no YAML"),
    ],
)
def test_what_cannot_be_set_is_refused_and_the_file_stays(
    file: Path, assignment: str, said: str
) -> None:
    with pytest.raises(ParamsError, match=said):
        set_values([assignment], file)
    assert file.read_text() == PARAMS
