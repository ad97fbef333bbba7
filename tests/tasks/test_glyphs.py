import hashlib
import json
import unicodedata
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from checkout import ROOT
from safetensors.numpy import load_file

from headstart.params.datasets import Alphabet, Glyphs
from headstart.plan import Plan
from headstart.registry import load
from headstart.tasks import glyphs, typefaces
from headstart.tasks.alphabets import ALPHABETS
from headstart.tasks.build import build

PIXELS = "a2b28c1a3292a849b83b70b208f8b776a51c247fb303c63fef3751b935849ffe"
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


def letters(*alphabets: Alphabet) -> dict[Alphabet, tuple[str, ...]]:
    """Return the letters of a dataset of these alphabets, drawn by matplotlib's faces."""
    return typefaces.lettering(SMALL.model_copy(update={"alphabets": alphabets})).letters


def test_the_images_and_keys_of_the_default_study_are_those_of_matplotlibs_faces_alone() -> None:
    """Fonts that nobody asks for stand in no key, and letters are drawn as ever."""
    plan = Plan(load(ROOT / "presets" / "default.yaml"))
    dataset = plan.params.datasets["glyphs"]
    assert isinstance(dataset, Glyphs)
    (job,) = (job for job in plan.jobs("data") if job.wildcards["dataset"] == "glyphs")
    assert job.keyed == {
        "kind": "glyphs",
        "rotation": 20.0,
        "shear": 0.25,
        "scale": [0.6, 1.0],
        "shift": 0.1,
        "noise": 0.15,
    }
    contents = glyphs.make(dataset)
    # Exact across machines, as promised for `data`.
    assert hashlib.sha256(contents.images.tobytes()).hexdigest() == PIXELS


def test_cyrillic_letters_that_look_latin_are_left_out() -> None:
    found = letters("latin", "cyrillic")
    assert "".join(found["cyrillic"]) == "БГДЁЖЗИЙЛПУФЦЧШЩЪЫЬЭЮЯ"
    assert len(found["latin"]) == 26


def test_greek_letters_that_look_latin_or_like_a_chosen_cyrillic_one_are_left_out() -> None:
    assert "".join(letters("greek")["greek"]) == "ΓΔΘΛΞΠΣΦΨΩ"
    assert not {"Γ", "Π"} & set(letters("cyrillic", "greek")["greek"])


@pytest.mark.parametrize("alphabet", ["latin", "cyrillic", "greek", "armenian", "lao"])
def test_no_family_draws_both_training_and_test_images(alphabet: Alphabet) -> None:
    faces = typefaces.lettering(SMALL.model_copy(update={"alphabets": (alphabet,)})).faces
    train, test = ({face.family for face in faces[alphabet, part]} for part in ("train", "test"))
    assert train
    assert test
    assert not train & test


@pytest.mark.parametrize("alphabet", ["latin", "cyrillic", "greek", "armenian", "lao"])
def test_every_typeface_has_every_letter(alphabet: Alphabet) -> None:
    drawn = typefaces.lettering(SMALL.model_copy(update={"alphabets": (alphabet,)}))
    for part in ("train", "test"):
        for face in drawn.faces[alphabet, part]:
            font = typefaces.load_face(face.path, 32)
            absent = bytes(font.getmask("\U0010fffd"))
            for letter in drawn.letters[alphabet]:
                assert bytes(font.getmask(letter)) != absent, (face, letter)


def test_the_faces_of_the_default_are_those_that_it_always_had() -> None:
    """Twelve of DejaVu, for Latin six of Computer Modern too; four of STIX test."""
    drawn = typefaces.lettering(SMALL)
    names = {key: [face.path.stem for face in faces] for key, faces in drawn.faces.items()}
    assert [len(names["latin", part]) for part in ("train", "test")] == [18, 4]
    assert names["cyrillic", "train"] == names["latin", "train"][:12]
    assert names["cyrillic", "test"] == names["latin", "test"]
    assert all(name.startswith("STIXGeneral") for name in names["latin", "test"])


@pytest.mark.parametrize("alphabet", sorted({*ALPHABETS} - {"numerals"}))
def test_the_letters_of_an_alphabet_are_those_of_its_script(alphabet: Alphabet) -> None:
    script = alphabet.removesuffix("_small").upper()
    names = [unicodedata.name(letter) for letter in ALPHABETS[alphabet]]
    assert len(set(names)) == len(names)
    # LETTER A, SYLLABLE HA (Ethiopic), CHARACTER KO KAI (Thai).
    kinds = ("LETTER", "SYLLABLE", "CAPITAL LETTER", "SMALL LETTER", "CHARACTER")
    assert all(name.startswith(tuple(f"{script} {kind} " for kind in kinds)) for name in names)
    assert {unicodedata.category(letter) for letter in ALPHABETS[alphabet]} <= (
        {"Ll"} if alphabet.endswith("_small") else {"Lu", "Lo", "Ll"}
    )


def test_params_know_the_alphabets_that_can_be_drawn() -> None:
    assert set(get_args(Alphabet)) == set(ALPHABETS)


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
    path = typefaces.faces(None)[0].path.with_name("NoSuchFace.ttf")
    with pytest.raises(ValueError, match=r"NoSuchFace\.ttf: .* missing or damaged; install"):
        typefaces.load_face(path, 32)
