import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.params.recipe import Augmentation
from headstart.tasks import TaskError
from headstart.tasks.batches import (
    EvaluationBatches,
    Normalization,
    TrainBatches,
    _bounds,
    normalization,
)
from headstart.tasks.task import TestImages, TrainImages

OFF = Augmentation()
EVERYTHING = Augmentation(
    shift=1, flip=True, crop_scale=(0.5, 1.0), colour_jitter=0.3, rotation=10.0
)
PLAIN = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def batches(
    images: TrainImages, augmentation: Augmentation = OFF, seed: int = 0, size: int = 32
) -> TrainBatches:
    return TrainBatches(images, PLAIN, size, augmentation, "cpu", seed)


def test_every_image_comes_once_in_an_epoch(noise: TrainImages) -> None:
    made = batches(noise)
    seen = torch.cat([images for images, _ in made.epoch(0)])
    order = [int((noise.images / 255 - image).abs().sum((1, 2, 3)).argmin()) for image in seen]
    assert sorted(order) == list(range(100))
    assert order != list(range(100))
    labels = torch.cat([labels for _, labels in made.epoch(0)])
    assert torch.equal(labels, noise.labels[order])
    assert (made.num_images, made.num_classes, made.steps) == (100, 2, 4)


def test_an_epoch_depends_on_seed_and_number_and_not_on_what_ran_before(noise: TrainImages) -> None:
    def third(made: TrainBatches) -> torch.Tensor:
        return torch.cat([images for images, _ in made.epoch(3)])

    resumed, whole = batches(noise, EVERYTHING), batches(noise, EVERYTHING)
    for epoch in range(3):
        list(whole.epoch(epoch))
    torch.manual_seed(99)
    assert torch.equal(third(resumed), third(whole))
    assert not torch.equal(third(whole), third(batches(noise, EVERYTHING, seed=1)))
    fourth = torch.cat([images for images, _ in whole.epoch(4)])
    assert not torch.equal(third(whole), fourth)


def test_what_happens_to_an_image_does_not_depend_on_the_batch_size(noise: TrainImages) -> None:
    small, large = (
        torch.cat([images for images, _ in batches(noise, EVERYTHING, size=size).epoch(0)])
        for size in (10, 50)
    )
    torch.testing.assert_close(small, large)


@given(number=st.integers(1, 300), size=st.integers(2, 70))
def test_batches_cover_all_images_and_none_holds_a_single_one(number: int, size: int) -> None:
    bounds = _bounds(number, size)
    covered = [index for start, stop in bounds for index in range(start, stop)]
    assert covered == list(range(number))
    if number > 1:
        assert min(stop - start for start, stop in bounds) > 1


def test_normalised_training_images_have_mean_0_and_deviation_1(noise: TrainImages) -> None:
    made = EvaluationBatches(noise, normalization(noise), 7, "cpu")
    values = torch.cat([images for images, _ in made]).double()
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        values.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6, rtol=0
    )


def test_a_channel_that_never_varies_is_not_divided_by_zero() -> None:
    flat = TrainImages(
        torch.full((4, 1, 2, 2), 51, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b")
    )
    found = normalization(flat)
    assert found.mean == pytest.approx((0.2,))
    (values, _) = next(iter(EvaluationBatches(flat, found, 4, "cpu")))
    assert values.abs().max() < 1e-6


def test_a_normalisation_survives_json(noise: TrainImages) -> None:
    found = normalization(noise)
    assert Normalization.from_dict(found.to_dict()) == found


def test_evaluation_keeps_the_order_whatever_the_batch_size(noise: TrainImages) -> None:
    test = TestImages(noise.images, noise.labels, noise.classes)
    one, all_at_once = (EvaluationBatches(test, PLAIN, size, "cpu") for size in (1, 100))
    assert one.num_images == 100
    for index in (0, 1):
        joined = torch.cat([batch[index] for batch in one])
        assert torch.equal(joined, next(iter(all_at_once))[index])
    assert torch.equal(torch.cat([labels for _, labels in one]), noise.labels)


def test_images_on_the_device_stay_as_they_are(noise: TrainImages) -> None:
    before = noise.images.clone()
    made = batches(noise, EVERYTHING)
    list(made.epoch(0))
    list(EvaluationBatches(noise, normalization(noise), 10, "cpu"))
    assert torch.equal(noise.images, before)


def test_channels_last_changes_the_layout_and_no_value(noise: TrainImages) -> None:
    layouts = [
        next(TrainBatches(noise, PLAIN, 10, OFF, "cpu", 0, channels_last=flag).epoch(0))[0]
        for flag in (False, True)
    ]
    assert layouts[1].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(*layouts)


def test_a_normalisation_for_other_channels_is_refused(noise: TrainImages) -> None:
    with pytest.raises(TaskError, match=r"images have 3 channels, the normalisation has 1: .*same"):
        TrainBatches(noise, Normalization((0.5,), (0.2,)), 10, OFF, "cpu", 0)


@pytest.mark.cuda
def test_a_gpu_gets_the_same_batches_as_the_cpu(noise: TrainImages) -> None:
    for here, there in zip(
        batches(noise, EVERYTHING).epoch(2),
        TrainBatches(noise, PLAIN, 32, EVERYTHING, "cuda", 0).epoch(2),
        strict=True,
    ):
        torch.testing.assert_close(here[0], there[0].cpu(), atol=1e-3, rtol=0)
        assert torch.equal(here[1], there[1].cpu())
