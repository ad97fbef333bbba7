import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from headstart.params.datasets import Glyphs
from headstart.tasks import glyphs
from headstart.tasks.build import build

SMALL = Glyphs(kind="glyphs", train_per_class=20, test_per_class=5)


def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        build("letters", SMALL, tmp_path / name)
    for file in ("images.safetensors", "classes.json"):
        first, second = (tmp_path / name / file for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_build_writes_images_labels_parts_and_names(tmp_path: Path) -> None:
    summary = build("letters", SMALL, tmp_path)
    arrays = load_file(tmp_path / "images.safetensors")
    names = json.loads((tmp_path / "classes.json").read_text(encoding="utf-8"))
    assert (summary["classes"], summary["images"]) == (48, 48 * 25)
    assert arrays["images"].shape == (48 * 25, 1, 16, 16)
    assert [arrays[name].dtype for name in ("images", "labels", "test")] == [
        np.uint8,
        np.int64,
        np.uint8,
    ]
    assert np.bincount(arrays["labels"][arrays["test"] == 1]).tolist() == [5] * 48
    assert set(names) == {"classes", "groups", "licence", "source"}


def test_cyrillic_letters_that_look_latin_are_left_out() -> None:
    letters = glyphs.letters(("latin", "cyrillic"))
    assert "".join(letters["cyrillic"]) == "БГДЁЖЗИЙЛПУФЦЧШЩЪЫЬЭЮЯ"
    assert len(letters["latin"]) == 26


def test_greek_letters_that_look_latin_or_like_a_chosen_cyrillic_one_are_left_out() -> None:
    assert "".join(glyphs.letters(("greek",))["greek"]) == "ΓΔΘΛΞΠΣΦΨΩ"
    assert not {"Γ", "Π"} & set(glyphs.letters(("cyrillic", "greek"))["greek"])


@pytest.mark.parametrize("alphabet", ["latin", "cyrillic", "greek"])
def test_no_typeface_draws_both_training_and_test_images(alphabet: glyphs.Alphabet) -> None:
    train, test = (set(glyphs.typefaces(alphabet, part)) for part in ("train", "test"))
    assert train
    assert test
    assert not train & test


@pytest.mark.parametrize("alphabet", ["latin", "cyrillic", "greek"])
def test_every_typeface_has_every_letter(alphabet: glyphs.Alphabet) -> None:
    for part in ("train", "test"):
        for face in glyphs.typefaces(alphabet, part):
            font = glyphs.load_face(face, 32)
            absent = bytes(font.getmask("\U0010fffd"))
            for letter in glyphs.ALPHABETS[alphabet]:
                assert bytes(font.getmask(letter)) != absent, (face, letter)


def test_letters_do_not_depend_on_the_other_alphabets() -> None:
    both, alone = (
        glyphs.make(SMALL.model_copy(update={"alphabets": alphabets}))
        for alphabets in (("latin", "cyrillic"), ("cyrillic",))
    )
    np.testing.assert_array_equal(both.images[26 * 25 :], alone.images)


def test_another_seed_draws_other_images() -> None:
    other = glyphs.make(SMALL.model_copy(update={"seed": 1}))
    assert (glyphs.make(SMALL).images != other.images).any(axis=(1, 2, 3)).all()


def test_without_changes_a_letter_is_upright_and_in_the_middle() -> None:
    still = SMALL.model_copy(
        update={"rotation": 0, "shear": 0, "scale": (1.0, 1.0), "shift": 0, "noise": 0}
    )
    contents = glyphs.make(still)
    of_i = contents.images[contents.labels == contents.classes.index("I")][:, 0].astype(int)
    assert (of_i.max(axis=2)[:, [1, 14]] > 128).all(), "the letter fills the height"
    assert (abs(of_i - of_i[:, ::-1, ::-1]).mean(axis=(1, 2)) < 12).all(), (
        "half a turn changes no I"
    )


def test_a_typeface_that_matplotlib_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"NoSuchFace\.ttf: .* missing or damaged; install"):
        glyphs.load_face("NoSuchFace", 32)
