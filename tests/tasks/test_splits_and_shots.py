import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.params.datasets import Task
from headstart.tasks import TaskError
from headstart.tasks.classes import find_problems, resolve_classes
from headstart.tasks.storage import ClassCounts
from headstart.tasks.task import (
    StoredDataset,
    TestImages,
    TrainImages,
    ValidationImages,
    draw_shots,
    make_task,
    repeated,
    split_images,
)

SOURCE = Path(__file__).parents[2] / "src"


def section(classes: str | tuple[str, ...] = "all", **fields: object) -> Task:
    return Task.model_validate(
        {"dataset": "animals", "classes": classes, "validation_per_class": 3, **fields}
    )


def numbers(images: TrainImages | ValidationImages | TestImages) -> set[int]:
    return set(images.images[:, 0, 0, 0].tolist())


@settings(deadline=None, max_examples=60)
@given(
    per_class=st.lists(st.tuples(st.integers(4, 12), st.integers(1, 5)), min_size=2, max_size=5),
    validation=st.integers(1, 3),
    limit=st.none() | st.integers(1, 6),
    order=st.randoms(use_true_random=False),
)
def test_train_validation_and_test_images_never_overlap(
    per_class, validation, limit, order
) -> None:
    rows = [
        (label, part)
        for label, (train, test) in enumerate(per_class)
        for part in [0] * train + [1] * test
    ]
    order.shuffle(rows)
    labels, test = torch.tensor(rows).T
    names = tuple("abcde"[: len(per_class)])
    images = torch.zeros(len(rows), 1, 1, 1, dtype=torch.uint8)
    dataset = StoredDataset(images, labels, test.to(torch.uint8), names, {})
    task = section(validation_per_class=validation, train_per_class=limit)
    split = split_images("task", task, dataset)
    parts = [set(part.tolist()) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert parts[2] == set(torch.nonzero(test).flatten().tolist())
    assert not test[split.train].any()
    assert not test[split.validation].any()
    for label, (train, _) in enumerate(per_class):
        kept = min(train - validation, limit or train)
        assert (labels[split.train] == label).sum() == kept
        assert (labels[split.validation] == label).sum() == validation


def test_parts_of_a_task_have_no_image_in_common(animals: StoredDataset) -> None:
    task = make_task("all", section(), animals)
    parts = [numbers(task.train), numbers(task.validation), numbers(task.test)]
    assert [len(part) for part in parts] == [27, 9, 12]
    assert len(set.union(*parts)) == 48


def test_labels_count_the_chosen_classes(animals: StoredDataset) -> None:
    task = make_task("some", section(("fish", "cat")), animals)
    assert task.classes == ("cat", "fish")
    assert task.train.labels.unique().tolist() == [0, 1]
    originals = animals.labels[sorted(numbers(task.train))]
    assert torch.equal(originals, task.train.labels * 2)


def test_a_class_has_the_same_validation_images_in_every_task(animals: StoredDataset) -> None:
    pets = make_task("pets", section("pets"), animals)
    everything = make_task("everything", section(), animals)
    fish = {number for number in numbers(everything.validation) if number >= 32}
    assert numbers(pets.validation) == numbers(everything.validation) - fish


def test_fewer_validation_or_training_images_are_among_more_of_them(animals: StoredDataset) -> None:
    few, many = (
        make_task("all", section(validation_per_class=number), animals) for number in (2, 5)
    )
    assert numbers(few.validation) < numbers(many.validation)
    less, more = (make_task("all", section(train_per_class=number), animals) for number in (2, 5))
    assert numbers(less.train) < numbers(more.train)


def test_shots_are_so_many_training_images_of_each_class(animals: StoredDataset) -> None:
    task = make_task("all", section(), animals)
    shots = draw_shots(task, 2, draw=0)
    assert isinstance(shots, TrainImages)
    assert shots.labels.bincount().tolist() == [2, 2, 2]
    assert numbers(shots) < numbers(task.train)


def test_fewer_shots_of_a_draw_are_among_more_of_it(animals: StoredDataset) -> None:
    task = make_task("all", section(), animals)
    chain = [numbers(draw_shots(task, shots, draw=3)) for shots in (1, 2, 5, 9)]
    assert all(few < many for few, many in itertools.pairwise(chain))
    assert chain[-1] == numbers(draw_shots(task, "all", draw=3)) == numbers(task.train)


def test_draws_differ_and_are_repeated_exactly(animals: StoredDataset) -> None:
    task = make_task("all", section(), animals)
    draws = [numbers(draw_shots(task, 4, draw)) for draw in range(5)]
    assert len(set(map(frozenset, draws))) == 5
    again = make_task("all", section(), animals)
    assert torch.equal(draw_shots(again, 4, 2).images, draw_shots(task, 4, 2).images)


def test_more_shots_than_images_is_an_error_with_numbers(animals: StoredDataset) -> None:
    task = make_task("all", section(), animals)
    with pytest.raises(TaskError, match=r"10 of 'cat' .* task 'all' has 9 training images"):
        draw_shots(task, 10, draw=0)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("all", ["cat", "dog", "fish"]),
        ("dog", ["dog"]),
        ("pets", ["cat", "dog"]),
        (("fish", "pets", "dog"), ["cat", "dog", "fish"]),
    ],
)
def test_classes_are_chosen_by_name_group_or_list(
    animals: StoredDataset, choice: str | tuple[str, ...], expected: list[str]
) -> None:
    assert resolve_classes(choice, animals, "tasks.t.classes") == expected


def test_an_unknown_class_is_named_with_a_close_match(animals: StoredDataset) -> None:
    with pytest.raises(TaskError, match=r"tasks\.t\.classes: 'Pet' .* did you mean 'pets'\?"):
        resolve_classes("Pet", animals, "tasks.t.classes")
    with pytest.raises(TaskError, match=r"'zebra' .* known are: pets, cat, dog, fish"):
        resolve_classes(("cat", "zebra"), animals, "tasks.t.classes")


def test_choosing_no_class_is_an_error(animals: StoredDataset) -> None:
    with pytest.raises(TaskError, match=r"tasks\.t\.classes: \[\] chooses no class"):
        resolve_classes((), animals, "tasks.t.classes")


def test_a_task_that_cannot_be_made_says_why(animals: StoredDataset) -> None:
    with pytest.raises(TaskError, match=r"tasks\.t\.classes: only 'cat'; a task needs two"):
        make_task("t", section("cat"), animals)
    with pytest.raises(TaskError, match=r"validation_per_class: 12 of the 12 training images of"):
        make_task("t", section(validation_per_class=12), animals)


COUNTS = ClassCounts(
    classes=("cat", "dog", "fish"),
    groups={},
    train={"cat": 12, "dog": 20, "fish": 12},
    test={"cat": 4, "dog": 4, "fish": 0},
    shape=(1, 2, 2),
)


@pytest.mark.parametrize(
    ("task", "shots", "problem"),
    [
        (section("crow"), 1, "tasks.t.classes: 'crow' is no class"),
        (section("cat"), 1, "tasks.t.classes: only 'cat'; a task needs two"),
        (section(), None, "tasks.t.classes: 'fish' has no test image"),
        (section(("cat", "dog"), validation_per_class=12), 1, "12 of the 12 training images of"),
        (
            section(("cat", "dog")),
            10,
            "shots: 10 images per class are requested, but task 't' has 9",
        ),
        (section(("cat", "dog"), train_per_class=4), 5, "has 4 training images of 'cat'"),
    ],
)
def test_problems_are_found_from_counts_alone(task: Task, shots: int | None, problem: str) -> None:
    found = find_problems("t", task, COUNTS, shots)
    assert len(found) == 1
    assert problem in found[0]
    assert "\n" not in found[0]


def test_a_task_without_problems_has_none() -> None:
    for shots in (9, "all", None):
        assert find_problems("t", section(("cat", "dog")), COUNTS, shots) == []


def test_checks_need_no_torch() -> None:
    modules = "headstart.tasks.classes, headstart.tasks.storage, headstart.tasks.build"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, check=False)
    assert run.returncode == 0


def test_the_type_checker_refuses_test_images_for_training(tmp_path: Path) -> None:
    from mypy import api

    snippet = tmp_path / "leak.py"
    snippet.write_text(
        "from headstart.tasks.batches import normalization\n"
        "from headstart.tasks.task import Task, TrainImages, ValidationImages\n"
        "def choose(images: ValidationImages) -> None: ...\n"
        "def leak(task: Task) -> None:\n"
        "    choose(task.test)\n"
        "    normalization(task.test)\n"
        "    choose(task.validation)\n"
        "    normalization(task.train)\n"
    )
    files = [SOURCE / "headstart" / "tasks" / name for name in ("task.py", "batches.py")]
    output, _, _ = api.run(
        [
            "--follow-imports=skip",
            "--ignore-missing-imports",
            f"--cache-dir={tmp_path}",
            *map(str, [*files, snippet]),
        ]
    )
    wrong = [line for line in output.splitlines() if "leak.py" in line]
    assert [line.split(":")[1] for line in wrong] == ["5", "6"], output
    assert all('"TestImages"' in line for line in wrong)


def test_draws_do_not_touch_the_global_generators(animals: StoredDataset) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    draw_shots(make_task("all", section(), animals), 2, 0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_repeated_images_come_so_many_times_each_with_its_label(animals: StoredDataset) -> None:
    images = make_task("all", section(), animals).train
    twice = repeated(images, 2)
    assert isinstance(twice, TrainImages)
    assert len(twice.labels) == 2 * len(images.labels)
    for part in (slice(None, len(images.labels)), slice(len(images.labels), None)):
        assert torch.equal(twice.images[part], images.images)
        assert torch.equal(twice.labels[part], images.labels)
    assert repeated(images, 1) is images
