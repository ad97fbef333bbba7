"""Letters drawn by the typefaces of a folder or of a package: copies of matplotlib's."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from commands import refused

from headstart.maintenance import external
from headstart.params.datasets import Fonts, Glyphs
from headstart.plan import Plan
from headstart.registry import load, parse
from headstart.tasks import TaskError, glyphs, nominal, typefaces

PARAMS = Path("params.yaml")
FAMILIES = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral")
PLACEHOLDER = "LastResortHE-Regular"


def copy(folder: Path, *names: str) -> Path:
    """Copy faces of matplotlib into a folder; return it."""
    folder.mkdir(exist_ok=True)
    inside = typefaces.faces(None)[0].path.parent
    for name in names:
        shutil.copy(inside / f"{name}.ttf", folder)
    return folder


def dataset(folder: Path | None, *alphabets: str, **options: object) -> Glyphs:
    fonts = {} if folder is None else {"fonts": {"path": str(folder)}}
    few = {"train_per_class": 4, "test_per_class": 2}
    return Glyphs.model_validate(
        {"kind": "glyphs", "alphabets": alphabets or ("latin",), **fonts, **few, **options}
    )


def noted(drawn: Glyphs) -> Glyphs:
    """Return the dataset with the content of its fonts, as `data add` notes it."""
    assert drawn.fonts
    digest = typefaces.content_hash(drawn.fonts)
    return drawn.model_copy(update={"fonts": drawn.fonts.model_copy(update={"sha256": digest})})


def families(drawn: typefaces.Lettering, part: typefaces.Part) -> set[str]:
    return {face.family for key, faces in drawn.faces.items() if key[1] == part for face in faces}


def test_whole_families_are_kept_apart_by_seed_over_all_alphabets(tmp_path: Path) -> None:
    names = [*FAMILIES, *(f"{name}-Bold" for name in FAMILIES[:3])]
    folder = copy(tmp_path / "fonts", *names)
    tested = set()
    for seed in range(8):
        drawn = typefaces.lettering(dataset(folder, "latin", "armenian", "lao", seed=seed))
        train, test = families(drawn, "train"), families(drawn, "test")
        assert not train & test
        assert all(drawn.faces.values()), "every alphabet has faces in both parts"
        tested |= test
    # Lao is in two families alone, so that one of them is for testing, whatever the seed.
    assert tested == {"DejaVu Sans", "DejaVu Sans Mono"}


def test_a_letter_that_one_face_lacks_or_draws_as_another_is_left_out(tmp_path: Path) -> None:
    folder = copy(tmp_path / "fonts", *FAMILIES)
    drawn = typefaces.lettering(dataset(folder, "armenian", "numerals", "cyrillic"))
    # Օ is drawn as Latin O in DejaVu, 3 as Cyrillic З in one of its faces.
    assert {"Օ"} <= set(typefaces.ALPHABETS["armenian"]) - set(drawn.letters["armenian"])
    alone = typefaces.lettering(dataset(folder, "numerals")).letters["numerals"]
    assert set(alone) == set("0123456789")
    for (alphabet, _), faces in drawn.faces.items():
        for face in faces:
            pictures = {typefaces._picture(face.path, x) for x in drawn.letters[alphabet]}
            assert len(pictures) == len(drawn.letters[alphabet])
            assert None not in pictures


def test_a_placeholder_font_that_maps_every_letter_to_a_box_draws_none(tmp_path: Path) -> None:
    folder = copy(tmp_path / "fonts", "DejaVuSans", "DejaVuSerif", PLACEHOLDER)
    drawn = typefaces.lettering(dataset(folder, "latin", "cyrillic"))
    assert families(drawn, "train") | families(drawn, "test") == {"DejaVu Sans", "DejaVu Serif"}
    with pytest.raises(TaskError, match=r"1 of the families .* letters of hebrew \(DejaVu Sans\)"):
        typefaces.lettering(dataset(folder, "hebrew"))


def test_images_from_a_folder_differ_by_part_and_are_equal_wherever_it_lies(tmp_path: Path) -> None:
    here, there = (copy(tmp_path / name, *FAMILIES) for name in ("here", "there"))
    first, second = (glyphs.make(noted(dataset(folder, "georgian"))) for folder in (here, there))
    np.testing.assert_array_equal(first.images, second.images)
    assert (len(first.classes), first.source[:14]) == (33, "fonts, sha256 ")
    assert "trained on DejaVu Sans" in first.findings[0]


def test_the_fonts_of_an_installed_package_are_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(tmp_path / "faces", *FAMILIES)
    record = tmp_path / "some_faces-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: some-faces\nVersion: 1.0\n")
    lines = [f"faces/{name}.ttf,," for name in FAMILIES]
    (record / "RECORD").write_text("\n".join([*lines, "faces/__init__.py,,"]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert metadata.version("some-faces") == "1.0"
    fonts = Fonts(package="some-faces")
    assert {face.family for face in typefaces.faces(fonts)} == {
        "DejaVu Sans",
        "DejaVu Sans Mono",
        "DejaVu Serif",
        "STIXGeneral",
    }
    digest = typefaces.content_hash(fonts)
    assert digest != typefaces.content_hash(Fonts(path=str(copy(tmp_path / "few", *FAMILIES[:3]))))


def refusal(drawn: Glyphs) -> str:
    with pytest.raises(TaskError) as error:
        glyphs.make(drawn, "datasets.letters")
    return str(error.value)


def test_what_is_wrong_with_fonts_is_said_before_anything_is_drawn(tmp_path: Path) -> None:
    absent = refusal(dataset(tmp_path / "nowhere"))
    assert absent == f"datasets.letters.fonts.path: {tmp_path / 'nowhere'}: no such folder"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "read.me").write_text("no face")
    assert refusal(dataset(empty)) == (
        f"datasets.letters.fonts: {empty} holds no typeface, no file that ends in .ttf or .otf"
    )
    one = copy(tmp_path / "one", "DejaVuSans", "DejaVuSans-Bold")
    assert "1 of the families" in refusal(dataset(one))
    assert "two are needed, for one is kept for testing" in refusal(dataset(one))
    none = refusal(dataset(copy(tmp_path / "several", *FAMILIES), "latin", "hiragana"))
    assert "0 of the families" in none
    assert "have the letters of hiragana; two are needed" in none
    assert none.endswith("add typefaces, or leave hiragana out of `alphabets`")
    damaged = copy(tmp_path / "damaged", *FAMILIES) / "DejaVuSans.ttf"
    damaged.write_bytes(b"no font")
    assert refusal(dataset(damaged.parent)) == (
        f"{damaged}: this typeface is missing or damaged; restore it, or take it away"
    )
    package = Glyphs(kind="glyphs", fonts=Fonts(package="no-such-faces"))
    assert refusal(package) == (
        "datasets.letters.fonts.package: 'no-such-faces' is not installed; run `pip install no-such-faces`"
    )


def test_fonts_that_were_not_added_or_have_changed_are_refused_with_the_command(
    tmp_path: Path,
) -> None:
    folder = copy(tmp_path / "fonts", *FAMILIES)
    command = f"`headstart data add letters {folder}`"
    new = refusal(dataset(folder))
    assert "not noted yet" in new
    assert command in new
    known = noted(dataset(folder))
    glyphs.make(known)
    copy(folder, "DejaVuSerif-Bold")
    changed = refusal(known)
    assert changed.startswith("datasets.letters.fonts.sha256: the typefaces of ")
    assert command in changed


def test_two_families_that_no_choice_can_part_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three alphabets, each in two of three families: whatever is tested, one has nothing left."""
    faces = {name: typefaces.Face(Path(name), name) for name in "abc"}
    pairs = [(faces["a"], faces["b"]), (faces["b"], faces["c"]), (faces["a"], faces["c"])]
    drawn = dataset(Path("fonts"), "latin", "cyrillic", "greek")
    assert typefaces._test_families(pairs, drawn) is None
    assert typefaces._test_families(pairs[:2], drawn) in [frozenset("b"), frozenset("ac")]
    able = dict(zip(("latin", "cyrillic", "greek"), pairs, strict=True))
    monkeypatch.setattr(typefaces, "_able", lambda *_: able)
    with pytest.raises(TaskError, match="no choice among the families of fonts leaves one"):
        typefaces._lettering(tuple(faces.values()), drawn, "datasets.letters.fonts")


def test_data_add_writes_the_folder_with_its_content_which_is_in_the_key(project: Path) -> None:
    folder = copy(Path("faces"), *FAMILIES)
    PARAMS.write_text(
        "datasets:\n  letters: {kind: glyphs, size: 12, alphabets: [latin, georgian]}\n"
        "tasks:\n  latin: {dataset: letters, classes: latin}\n"
        "models: {}\npretrain: {}\n"
    )
    before = Plan(load(PARAMS)).jobs("data")[0]
    said = external.add("letters", "faces", None, PARAMS)
    assert "georgian: 33 letters" in said
    assert "tested on" in said
    added = load(PARAMS).datasets["letters"]
    assert isinstance(added, Glyphs)
    assert added.fonts == Fonts(path="faces", sha256=typefaces.content_hash(Fonts(path="faces")))
    job = Plan(load(PARAMS)).jobs("data")[0]
    assert job.keyed["fonts"] == {"sha256": added.fonts.sha256}, "where they lie is in no key"
    assert job.full_key != before.full_key
    (folder / "DejaVuSerif.ttf").unlink()
    assert typefaces.content_hash(added.fonts) != added.fonts.sha256
    refused("data", "add", "letters", "elsewhere", said=("elsewhere: no such file or folder",))


def test_a_study_whose_fonts_are_elsewhere_is_planned_with_a_guess() -> None:
    drawn = dataset(Path("nowhere"), "latin", "thai")
    size = nominal.dataset_size(drawn)
    assert (size.classes, size.guessed) == (26 + 44, True)
    assert not nominal.dataset_size(dataset(None, "latin", "cyrillic")).guessed


def test_a_place_for_fonts_is_a_folder_or_a_package_and_an_alphabet_is_known() -> None:
    for fonts in ({}, {"path": "a", "package": "b"}):
        with pytest.raises(ValueError, match="give one of them"):
            parse_glyphs({"fonts": fonts})
    with pytest.raises(
        ValueError, match=r"alphabets\.1: input should be 'latin', .* found 'runes'"
    ):
        parse_glyphs({"alphabets": ["latin", "runes"]})


def parse_glyphs(options: dict[str, object]) -> None:
    glyph = {"kind": "glyphs", **options}
    tasks = {"latin": {"dataset": "letters", "classes": "latin"}}
    parse({"datasets": {"letters": glyph}, "tasks": tasks, "models": {}, "pretrain": {}})
