from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.params.datasets import ImageFolder
from headstart.tasks import TaskError
from headstart.tasks.build import build
from headstart.tasks.image_folder import content_hash, make, to_array
from headstart.tasks.storage import count
from headstart.tasks.task import read


def save(
    path: Path, colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (6, 4)
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for index in range(5):
        save(root / "cat" / f"{index}.png")
        save(root / "dog" / f"{index}.JPG", (0, 0, 255))
    save(root / "cat" / ".hidden.png")
    (root / "cat" / "notes.txt").write_text("not an image")
    (root / ".git").mkdir()
    return root


def section(folder: Path, **fields: object) -> ImageFolder:
    defaults = {"kind": "image_folder", "path": str(folder), "size": 4}
    return ImageFolder.model_validate({"sha256": content_hash(folder), **defaults, **fields})


def test_a_folder_of_class_folders_becomes_a_dataset(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    target.mkdir()
    build("pets", section(folder, groups={"furry": ["cat", "dog"]}), target)
    dataset = read(target)
    assert dataset.classes == ("cat", "dog")
    assert dataset.groups == {"furry": ("cat", "dog")}
    assert dataset.images.shape == (10, 3, 4, 4)
    assert dataset.images[0, :, 0, 0].tolist() == [255, 0, 0]
    assert count(target).train == {"cat": 4, "dog": 4}
    assert count(target).test == {"cat": 1, "dog": 1}
    assert count(target).shape == (3, 4, 4)


def test_only_so_many_images_of_a_class_are_read_and_fewer_are_among_more(folder: Path) -> None:
    for index in range(5):
        save(folder / "cat" / f"{index}.png", (index, 0, 0))

    def cats(number: int) -> set[int]:
        few = section(folder, train_per_class=number, test_per_class=1, test_fraction=0.4)
        contents = make("datasets.pets", few)
        assert contents.labels[contents.test == 0].tolist() == [0] * number + [1] * number
        assert contents.labels[contents.test == 1].tolist() == [0, 1]
        return set(contents.images[(contents.labels == 0) & (contents.test == 0), 0, 0, 0].tolist())

    assert cats(1) < cats(2) < cats(3) < {0, 1, 2, 3, 4}


def test_train_and_test_folders_are_the_parts(tmp_path: Path) -> None:
    for part, number in (("train", 3), ("test", 2)):
        for index in range(number):
            save(tmp_path / part / "cat" / f"{index}.png")
            save(tmp_path / part / "dog" / "deeper" / f"{index}.png")
    contents = make("datasets.pets", section(tmp_path))
    assert contents.test.tolist() == [0] * 6 + [1] * 4
    assert contents.labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]


def test_grey_images_have_one_channel(folder: Path) -> None:
    contents = make("datasets.pets", section(folder, channels=1))
    assert contents.images.shape == (10, 1, 4, 4)


def test_crop_keeps_the_middle_and_squash_keeps_everything() -> None:
    stripes = np.zeros((4, 8), dtype=np.uint8)
    stripes[:, :2] = 255
    image = Image.fromarray(stripes)
    assert to_array(image, 1, 4, "crop").max() == 0
    assert to_array(image, 1, 4, "squash")[0, :, 0].min() > 200


def test_images_of_the_right_size_keep_their_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    array = to_array(Image.fromarray(pixels), 3, 4, "crop")
    np.testing.assert_array_equal(array, pixels.transpose(2, 0, 1))


def test_sixteen_bit_images_are_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16))
    assert to_array(image, 1, 4, "crop").tolist() == [[[128] * 4] * 4]


def test_the_content_hash_sees_bytes_and_names_and_nothing_else(folder: Path) -> None:
    before = content_hash(folder)
    (folder / "cat" / "notes.txt").write_text("other words")
    assert content_hash(folder) == before
    (folder / "cat" / "0.png").rename(folder / "cat" / "9.png")
    renamed = content_hash(folder)
    save(folder / "cat" / "9.png", (0, 255, 0))
    assert len({before, renamed, content_hash(folder)}) == 3


def test_a_folder_that_was_never_added_names_the_command(folder: Path) -> None:
    with pytest.raises(TaskError, match=r"datasets\.pets\.sha256: .*`headstart data add pets /"):
        make("datasets.pets", section(folder, sha256=None))


def test_a_folder_that_changed_since_it_was_added_is_refused(folder: Path) -> None:
    noted = section(folder)
    save(folder / "cat" / "new.png")
    with pytest.raises(TaskError, match=r"datasets\.pets\.sha256: the folder .* changed since"):
        make("datasets.pets", noted)


def test_an_image_that_does_not_decode_is_named(folder: Path) -> None:
    whole = (folder / "dog" / "2.JPG").read_bytes()
    (folder / "dog" / "2.JPG").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"dog/2\.JPG: this image does not decode .* replace"):
        make("datasets.pets", section(folder))


def test_a_class_without_images_is_named(folder: Path) -> None:
    (folder / "fish").mkdir()
    with pytest.raises(TaskError, match=r"photos/fish: no image of this class"):
        content_hash(folder)


def test_a_folder_without_class_folders_is_named(tmp_path: Path) -> None:
    save(tmp_path / "loose.png")
    with pytest.raises(TaskError, match=r"no class folders in it"):
        content_hash(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"nowhere: no such folder"):
        content_hash(tmp_path / "nowhere")


def test_train_without_test_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "0.png")
    save(tmp_path / "val" / "cat" / "0.png")
    with pytest.raises(TaskError, match=r"has train/ but no test/"):
        content_hash(tmp_path)


def test_a_class_only_in_test_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "0.png")
    save(tmp_path / "test" / "dog" / "0.png")
    with pytest.raises(TaskError, match=r"test/dog: train/ has no such class"):
        content_hash(tmp_path)


def test_a_group_with_an_unknown_class_is_refused(folder: Path, tmp_path: Path) -> None:
    groups = {"furry": ["cat", "wolf"]}
    with pytest.raises(TaskError, match=r"datasets\.pets\.groups\.furry: 'wolf' is no class"):
        build("pets", section(folder, groups=groups), tmp_path)
    assert not (tmp_path / "images.safetensors").exists()


def test_a_group_with_the_name_of_a_class_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"groups\.cat: this name is a class"):
        build("pets", section(folder, groups={"cat": ["dog"]}), tmp_path)


@pytest.mark.parametrize("file", ["images.safetensors", "classes.json"])
def test_a_damaged_dataset_is_named_with_its_fix(folder: Path, tmp_path: Path, file: str) -> None:
    target = tmp_path / "made"
    target.mkdir()
    build("pets", section(folder), target)
    whole = (target / file).read_bytes()
    (target / file).write_bytes(whole[: len(whole) // 2])
    for use in (read, count):
        with pytest.raises(TaskError, match=rf"{file}: damaged .* delete"):
            use(target)
    (target / file).unlink()
    with pytest.raises(TaskError, match=rf"{file}: missing"):
        count(target)
