"""Folders as people have them: every image is read as it is seen, or named with what to do."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import cut_out, fill, noise
from PIL import Image

from headstart.artifacts.files import file_sha256
from headstart.params.datasets import ImageFolder, Task
from headstart.tasks import TaskError
from headstart.tasks.build import build
from headstart.tasks.classes import find_problems
from headstart.tasks.image_folder import content_hash, make
from headstart.tasks.image_survey import Survey, survey
from headstart.tasks.pictures import look, to_array
from headstart.tasks.storage import NEVER_HELD_OUT, Contents, count
from headstart.tasks.task import make_task, read


def made(folder: Path, **fields: object) -> Contents:
    section = {"kind": "image_folder", "path": str(folder), "size": 8, **fields}
    background = fields.get("background")
    sha256 = content_hash(folder, background)  # type: ignore[arg-type]
    return make("datasets.photos", ImageFolder.model_validate({"sha256": sha256, **section}))


def names(found: Survey) -> list[str]:
    return [file.path.relative_to(found.listing.folder).as_posix() for file in found.files]


def finding(folder: Path, *said: str) -> str:
    """Return the one finding that says all of this."""
    lines = [line for line in survey(folder).findings() if all(words in line for words in said)]
    assert len(lines) == 1, survey(folder).findings()
    return lines[0]


# Transparency


def test_pictures_in_the_alpha_channel_alone_are_refused_until_they_have_a_background(
    tmp_path: Path,
) -> None:
    folder = cut_out(tmp_path / "photos")
    said = r"disc/0\.png.* and 7 more: 10 images whose picture is in the alpha channel alone; set `background`"
    with pytest.raises(TaskError, match=said):
        survey(folder)
    contents = made(folder, background="white")
    assert len({image.tobytes() for image in contents.images}) == 10
    assert contents.images.max() == 255
    assert contents.images.min() == 0


def test_pictures_of_the_colour_of_their_background_are_refused(tmp_path: Path) -> None:
    folder = cut_out(tmp_path / "photos", colour=255)
    with pytest.raises(TaskError, match="10 images of the colour of their background, white"):
        survey(folder, "white")
    assert len({image.tobytes() for image in made(folder, background="grey").images}) == 10


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_stands_on_the_background_and_is_counted(
    tmp_path: Path, mode: str
) -> None:
    folder = fill(tmp_path / "photos")
    image = noise(0, 50).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 10, 16))
    if mode == "P":
        image = image.quantize(colors=32)
    image = image if mode == "P" else image.convert(mode)
    path = folder / "ant" / "half.png"
    image.save(path)
    finding(folder, "1 image transparent in places", "ant/half.png", "`background`")
    for background, value in (("white", 255), ("black", 0), ("grey", 128)):
        pixels = np.asarray(look(path, background)[1].convert("RGB"))  # type: ignore[arg-type]
        assert (pixels[:, :10] == value).all()
    np.testing.assert_allclose(
        np.asarray(look(path)[1].convert("L"))[:, 11:].mean(),
        np.asarray(noise(0, 50).convert("L"))[:, 11:].mean(),
        atol=3,
    )


def test_an_alpha_channel_that_is_opaque_changes_neither_pixels_nor_the_hash(
    tmp_path: Path,
) -> None:
    folder = fill(tmp_path / "photos")
    image = noise(0, 50).convert("RGBA")
    image.save(folder / "ant" / "opaque.png")
    assert not any("transparent" in line for line in survey(folder).findings())
    pixels = to_array(look(folder / "ant" / "opaque.png")[1], 3, 16, "squash")
    np.testing.assert_array_equal(pixels, to_array(noise(0, 50), 3, 16, "squash"))


# Suffixes and formats


def test_whatever_pillow_reads_is_read_and_the_rest_is_named_by_suffix_and_number(
    tmp_path: Path,
) -> None:
    folder = fill(tmp_path / "photos", number=3)
    for suffix, form in (
        ("webp", "WEBP"),
        ("bmp", "BMP"),
        ("tif", "TIFF"),
        ("jfif", "JPEG"),
        ("jpeg?itok=abc", "JPEG"),
        ("GIF", "GIF"),
        ("tga", "TGA"),
        ("jp2", "JPEG2000"),
    ):
        noise(0, len(suffix)).save(folder / "ant" / f"x.{suffix}", form)
    noise(0, 99).save(folder / "ant" / "nosuffix", "PNG")
    (folder / "bee" / "notes.txt").write_text("BM is how a bitmap begins")
    for index in range(2):
        (folder / "bee" / f"{index}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "bee" / "README").write_text("words")
    (folder / "labels.csv").write_text("a,b")
    found = survey(folder)
    assert len(found.files) == 3 + 9 + 3
    finding(
        folder,
        "left out: 5 files",
        "2 .heic, 1 .csv, 1 .txt, 1 without suffix",
        "convert those that are pictures",
    )


def test_images_beside_the_class_folders_are_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    noise(0, 40).save(folder / "loose.png")
    finding(folder, "1 image that lie in no class folder", "loose.png", "move each")


def test_the_first_frame_is_read_and_that_is_said(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    frames = [noise(0, 60), noise(2, 61)]
    frames[0].save(
        folder / "ant" / "film.webp", save_all=True, append_images=frames[1:], lossless=True
    )
    frames[0].save(folder / "ant" / "film.gif", save_all=True, append_images=frames[1:])
    finding(folder, "2 images of several frames, of which the first is read", "ant/film.gif")
    first = np.asarray(look(folder / "ant" / "film.webp")[1].convert("RGB"))
    np.testing.assert_array_equal(first, np.asarray(frames[0]))


def test_cmyk_and_grey_and_palettes_are_the_same_picture_in_rgb(tmp_path: Path) -> None:
    grey = noise(1, 3).convert("L")
    for name, image in (("p.png", grey.convert("P")), ("cmyk.tif", noise(1, 3).convert("CMYK"))):
        image.save(tmp_path / name)
        expected = grey.convert("RGB") if name == "p.png" else noise(1, 3)
        pixels = np.asarray(look(tmp_path / name)[1].convert("RGB"), np.int64)
        assert np.abs(pixels - np.asarray(expected, np.int64)).max() <= 1


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (np.full((4, 4), 32896, np.uint16), 128),
        (np.full((4, 4), 65535, np.int32), 255),
        (np.full((4, 4), 0.5, np.float32), 128),
        (np.full((4, 4), 128.0, np.float32), 128),
    ],
)
def test_images_of_more_than_8_bits_are_scaled(
    tmp_path: Path, numbers: np.ndarray, expected: int
) -> None:
    Image.fromarray(numbers).save(tmp_path / "deep.tif")
    facts, image = look(tmp_path / "deep.tif")
    assert facts.deep
    assert to_array(image, 1, 4, "crop").tolist() == [[[expected] * 4] * 4]


@pytest.mark.parametrize("value", [-5.0, 900.0, float("nan")])
def test_numbers_that_are_no_brightness_are_refused(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "heights.tif")
    with pytest.raises(TaskError, match=r"heights\.tif: .* not brightness in 8 or 16 bits"):
        look(tmp_path / "heights.tif")


# Parts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("train", "test"),
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("train", "Test"),
        ("training", "test"),
        ("train_images", "test_images"),
        ("Training Set", "Test Set"),
        ("seg_train", "seg_test"),
        ("trainset", "testset"),
    ],
)
def test_parts_are_known_in_any_case_and_spelling(tmp_path: Path, one: str, other: str) -> None:
    fill(tmp_path / one, ("cyst", "well"), 4)
    fill(tmp_path / other, ("cyst", "well"), 2, start=50)
    contents = made(tmp_path)
    assert contents.classes == ("cyst", "well")
    assert contents.test.tolist() == [0] * 8 + [1] * 4


@pytest.mark.parametrize("name", ["val", "Valid", "validation", "dev"])
def test_a_published_validation_part_validates_whatever_number_is_asked_for(
    tmp_path: Path, name: str
) -> None:
    root = tmp_path / "photos"
    for part, number, start in (("train", 5, 0), (name, 3, 50), ("test", 2, 80)):
        fill(root / part, ("cyst", "well"), number, start=start)
    finding(root, "6 published validation images validate")
    section = ImageFolder(kind="image_folder", path=str(root), size=8, sha256=content_hash(root))
    (tmp_path / "made").mkdir()
    summary = build("photos", section, tmp_path / "made")
    assert summary["test_images"] == 4
    counts = count(tmp_path / "made")
    assert (counts.train["cyst"], counts.validation["cyst"], counts.test["cyst"]) == (5, 3, 2)
    params = Task(dataset="photos", classes="all", validation_per_class=10)
    assert not find_problems("all", params, counts, 5)
    task = make_task("all", params, read(tmp_path / "made"))
    parts = (task.train, task.validation, task.test)
    assert [len(part.labels) for part in parts] == [10, 6, 4]
    expected = {to_array(noise(0, 50 + i), 3, 8, "crop").tobytes() for i in range(3)}
    of_class = task.validation.images[task.validation.labels == 0]
    assert {image.numpy().tobytes() for image in of_class} == expected


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("valid", "test", "has valid/ and test/ but no train/"),
        ("train", "val", r"has train/ but no test/; name the test part test/ \(or rename val/\)"),
        ("fold_0", "fold_1", "each of fold_0, fold_1 holds the same folders .* look like parts"),
        ("train", "training", "are both a train part"),
    ],
)
def test_parts_that_leave_a_question_are_refused(
    tmp_path: Path, one: str, other: str, said: str
) -> None:
    for index, part in enumerate((one, other)):
        fill(tmp_path / part, ("cyst", "well"), start=50 * index)
    with pytest.raises(TaskError, match=said):
        survey(tmp_path)


def test_parts_inside_of_classes_are_refused(tmp_path: Path) -> None:
    for name in ("cyst", "well"):
        fill(tmp_path / name, ("Train", "Test"))
    with pytest.raises(TaskError, match="holds Test, Train, which are parts; put these at the top"):
        survey(tmp_path)


def test_a_folder_around_the_classes_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "photos" / "photos")
    with pytest.raises(
        TaskError, match=r"all lies in photos, whose folders \(ant, bee\) look like"
    ):
        survey(tmp_path / "photos")


def test_a_class_may_be_called_like_a_part(tmp_path: Path) -> None:
    fill(tmp_path, ("bus", "train", "test tube"))
    assert survey(tmp_path).classes == ["bus", "test tube", "train"]


def test_folders_inside_of_classes_belong_to_them_though_all_classes_have_them(
    tmp_path: Path,
) -> None:
    for name in ("cyst", "well"):
        fill(tmp_path / name, ("images",), start=len(name) * 10 + ord(name[0]))
    assert survey(tmp_path).classes == ["cyst", "well"]


# Links


def test_links_to_folders_and_files_are_followed_and_said(tmp_path: Path) -> None:
    pool = fill(tmp_path / "pool" / "a", number=4)
    fill(tmp_path / "pool" / "b", number=4, start=50)
    folder = tmp_path / "photos"
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for session in "ab":
            (folder / name / f"session_{session}").symlink_to(tmp_path / "pool" / session / name)
        noise(0, 90 + len(folder.name) + ord(name[0])).save(folder / name / "plain.png")
    (folder / "ant" / "single.png").symlink_to(pool / "bee" / "0.png")
    assert len(survey(folder).files) == 2 * 9 + 1
    finding(folder, "5 links followed, such as", "ant/session_a")


def test_loops_end_and_are_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    before = content_hash(folder)
    (folder / "ant" / "up").symlink_to(folder)
    (folder / "ant" / "everything").symlink_to("/")
    (folder / "ant" / "devices").symlink_to("/dev")
    (folder / "ant" / "deep").mkdir()
    (folder / "ant" / "deep" / "again").symlink_to(folder / "ant")
    (folder / "ant" / "endless").symlink_to("/dev/zero")
    os.mkfifo(folder / "ant" / "pipe.png")
    assert content_hash(folder) == before
    found = "\n".join(survey(folder).findings())
    for name in ("up", "everything"):
        assert f"ant/{name}: a link to a folder that contains it; not followed" in found
    assert "ant/deep/again: a link to a folder that was read already; not followed" in found
    assert "ant/devices: a link into /dev" in found
    assert "ant/pipe.png: no file but a device or a pipe; left out" in found
    assert "ant/endless: a link" in found


def test_a_link_to_nowhere_in_place_of_an_image_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    (folder / "ant" / "gone.png").symlink_to("/nowhere/at/all.png")
    (folder / "ant" / "itself.png").symlink_to(folder / "ant" / "itself.png")
    with pytest.raises(TaskError) as caught:
        survey(folder)
    first, second = str(caught.value).splitlines()
    assert "ant/gone.png: a link to /nowhere/at/all.png, where nothing is; mend the link" in first
    assert "ant/itself.png: a link to" in second


def test_a_folder_called_like_an_image_is_a_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    (folder / "ant" / "set.png").mkdir()
    noise(0, 70).save(folder / "ant" / "set.png" / "q.png")
    assert "ant/set.png/q.png" in names(survey(folder))


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "photos")
    (folder / "ant" / "secret").mkdir()
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(TaskError, match=r"ant/secret: cannot be read \(Permission denied\)"):
        survey(folder)


# Equal pictures


def test_copies_across_parts_and_under_two_labels_are_counted_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "train", number=10)
    for name in ("ant", "bee"):
        (tmp_path / "test" / name).mkdir(parents=True)
        for index in range(6):
            place = tmp_path / "test" / name / f"copy{index}.bmp"
            Image.open(tmp_path / "train" / name / f"{index}.png").save(place)
    shutil.copy(tmp_path / "train/ant/9.png", tmp_path / "train/bee/also.png")
    finding(
        tmp_path,
        "12 test images are equal to images of another part",
        "train/ant/0.png = test/ant/copy0.bmp",
        "remove them from one part",
    )
    finding(
        tmp_path,
        "1 picture under two labels",
        "train/ant/9.png = train/bee/also.png",
        "remove the wrong ones",
    )


def test_the_named_copies_are_of_the_two_labels_and_of_the_two_parts(tmp_path: Path) -> None:
    fill(tmp_path / "train", number=4)
    fill(tmp_path / "test", number=4, start=50)
    first = tmp_path / "train/ant/0.png"
    for copy in ("train/ant/1.png", "train/bee/2.png", "test/ant/3.png"):
        shutil.copy(first, tmp_path / copy)
    finding(tmp_path, "1 picture under two labels (train/ant/0.png = train/bee/2.png)")
    finding(tmp_path, "another part (train/ant/0.png = test/ant/3.png)")


@pytest.mark.parametrize("validation", [1, 2, 3])
def test_copies_are_on_one_side_of_every_split_that_is_drawn(
    tmp_path: Path, validation: int
) -> None:
    folder = fill(tmp_path / "photos", number=20)
    for file in list(folder.rglob("*.png")):
        shutil.copy(file, file.with_name(f"copy_{file.name}"))
    shutil.copy(folder / "ant" / "0.png", folder / "bee" / "wrong.png")
    finding(
        folder, "39 images equal to another of the same class", "all copies of a picture or none"
    )
    section = ImageFolder(
        kind="image_folder", path=str(folder), size=8, sha256=content_hash(folder)
    )
    (tmp_path / "made").mkdir()
    build("photos", section, tmp_path / "made")
    stored = read(tmp_path / "made")
    assert stored.copies is not None
    assert (stored.copies == NEVER_HELD_OUT).sum() == 3
    params = Task(dataset="photos", classes="all", validation_per_class=validation)
    task = make_task("all", params, stored)
    parts = (task.train, task.validation, task.test)
    seen = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert not seen[0] & (seen[1] | seen[2])
    assert not seen[1] & seen[2]
    assert sum(len(part.labels) for part in parts) == 81
    assert len(task.test.labels) == 16
    assert len(task.validation.labels) == 2 * (validation + validation % 2)


def test_a_folder_without_copies_is_split_as_ever(tmp_path: Path) -> None:
    contents = made(fill(tmp_path, number=10))
    assert contents.copies is None
    assert np.flatnonzero(contents.test).tolist() == [1, 8, 12, 13]
    files = sorted(tmp_path.rglob("*.png"))
    lines = (f"{file.relative_to(tmp_path)}\0{file_sha256(file)}\n" for file in files)
    assert content_hash(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()


# Orientation


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_photographs_are_turned_upright_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    folder = fill(tmp_path / "photos")
    back = {2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6}
    turns = [
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ]
    upright = np.full((20, 30, 3), 20, np.uint8)
    upright[:10, :20] = 220  # bright in the upper left
    for tag, turn in back.items():
        exif = Image.Exif()
        exif[0x0112] = tag
        stored = Image.fromarray(upright).transpose(turns[turn])
        stored.save(folder / "ant" / f"turned{tag}.{suffix}", exif=exif)
        facts, image = look(folder / "ant" / f"turned{tag}.{suffix}")
        assert facts.orientation == tag
        pixels = np.asarray(image, np.int64)
        assert pixels.shape == upright.shape
        assert np.abs(pixels - upright).mean() < 12, tag
    finding(folder, "7 images turned upright by EXIF orientation", f"ant/turned2.{suffix}")


def test_damaged_exif_is_no_reason_to_refuse_an_image(tmp_path: Path) -> None:
    noise(0, 1).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x01")
    assert look(tmp_path / "a.jpg")[0].orientation == 1


# What does not decode


def test_all_images_that_do_not_decode_are_named_at_once(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", number=12, suffix="jpg")
    for name in ("ant/3", "ant/7", "bee/2", "bee/5"):
        file = folder / f"{name}.jpg"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (folder / "bee" / "9.jpg").write_bytes(b"")
    (folder / "bee" / "10.jpg").write_text("<html>404 Not Found</html>")
    with pytest.raises(TaskError) as caught:
        content_hash(folder)
    lines = str(caught.value).splitlines()
    named = [line.partition(": this image does not decode (")[0] for line in lines]
    expected = ("ant/3", "ant/7", "bee/10", "bee/2", "bee/5", "bee/9")
    assert named == [str(folder / f"{name}.jpg") for name in expected]
    assert all("; replace the file or remove it" in line for line in lines)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def test_a_small_file_of_enormous_sides_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0" * 10))
        + chunk(b"IEND", b"")
    )
    (folder / "ant" / "bomb.png").write_bytes(bomb)
    Image.new("L", (5000, 2)).save(folder / "bee" / "line.png")
    with pytest.raises(TaskError) as caught:
        survey(folder)
    first, second = str(caught.value).splitlines()
    assert "ant/bomb.png: too large" in first
    assert "scale the image down or remove it" in first
    assert "bee/line.png: this image does not decode (its sides are 5,000 and 2 pixels" in second


@pytest.mark.parametrize("damage", ["header", "pixels"])
def test_a_png_with_a_wrong_checksum_is_read_or_named(tmp_path: Path, damage: str) -> None:
    noise(0, 1).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    place = content.index(b"IHDR" if damage == "header" else b"IDAT") + 8
    content[place] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(TaskError, match=r"a\.png: this image does not decode"):
        look(tmp_path / "a.png")


# What systems leave behind


def test_litter_of_systems_is_left_out_and_is_no_class(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    before, files = content_hash(folder), names(survey(folder))
    picture = (folder / "ant" / "1.png").read_bytes()
    for name in (
        ".DS_Store",
        "ant/.DS_Store",
        "ant/Thumbs.db",
        "ant/desktop.ini",
        "ant/._0.png",
        "ant/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg",
        "ant/@eaDir/t.png",
        "@eaDir/0.png",
        "__MACOSX/photos/ant/._0.png",
        ".ipynb_checkpoints/0-checkpoint.png",
        "ant/.ipynb_checkpoints/0-checkpoint.png",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture)
    assert names(survey(folder)) == files
    assert content_hash(folder) == before
    assert survey(folder).classes == ["ant", "bee"]
    finding(folder, "hidden or of the system", ".DS_Store")


# Names


def test_names_of_any_unicode_form_are_one_class_and_one_hash(tmp_path: Path) -> None:
    roots = {}
    for form in ("NFC", "NFD"):
        roots[form] = tmp_path / form
        fill(roots[form], (unicodedata.normalize(form, "café"), "häuser am see"))
    assert content_hash(roots["NFC"]) == content_hash(roots["NFD"])
    contents = made(roots["NFD"], groups={"all of it": [unicodedata.normalize("NFD", "café")]})
    assert contents.classes == ("café", "häuser am see")
    assert contents.groups == {"all of it": ("café",)}
    finding(roots["NFD"], "class 'café' is the folder 'cafe\\u0301'")
    task = Task(dataset="photos", classes=unicodedata.normalize("NFD", "café"))
    assert task.classes == "café"


def test_names_that_are_no_utf8_are_read_and_said(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos")
    name = os.fsdecode("café".encode("latin-1"))
    fill(folder, (name,), start=70)
    (folder / "ant" / "0.png").rename(folder / "ant" / os.fsdecode(b"\xff\n.png"))
    assert survey(folder).classes == ["ant", "bee", "café"]
    finding(folder, "class 'café' is the folder 'caf\\udce9'")
    (folder / "ant" / "bad\n.png").write_bytes(b"no image")
    with pytest.raises(TaskError) as caught:
        survey(folder)
    assert len(str(caught.value).splitlines()) == 1
    str(caught.value).encode()


def test_a_class_called_all_is_said(tmp_path: Path) -> None:
    fill(tmp_path, ("all", "none"))
    finding(tmp_path, "class 'all' cannot be chosen alone", "rename its folder")


# The table of classes


def test_classes_and_parts_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "Train", number=4)
    fill(tmp_path / "Test", ("bee",), 2, start=50)
    rows = [line.split() for line in survey(tmp_path).lines()[:4]]
    assert rows == [
        ["class", "train", "test"],
        ["ant", "4", "0"],
        ["bee", "4", "2"],
        ["all", "8", "2"],
    ]
