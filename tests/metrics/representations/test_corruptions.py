from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from checkout import ROOT
from PIL import Image
from sklearn.datasets import load_sample_images

from headstart.metrics.representations.corruptions import CORRUPTIONS, corrupt, jpeg_quantized


def pictures(count: int = 24, channels: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    """Smooth colour blobs with a bright square somewhere: neither flat nor noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 6, 6, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") * 0.8
    corners = torch.rand(count, 2, generator=generator) * 0.6
    for image, (top, left) in zip(images, corners.tolist(), strict=True):
        row, column = int(top * height), int(left * width)
        image[:, row : row + height // 4 + 1, column : column + width // 4 + 1] = 0.9
    return images


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crops(size: int, number: int) -> torch.Tensor:
    """The crops of photographs that `published/corruption_rms.csv` was measured on."""
    photographs = load_sample_images().images
    generator = np.random.default_rng(0)
    found = []
    for index in range(number):
        photograph = photographs[index % 2]
        height, width = photograph.shape[:2]
        side = int(generator.integers(200 if size == 32 else 224, min(height, width) + 1))
        top, left = (
            generator.integers(0, height - side + 1),
            generator.integers(0, width - side + 1),
        )
        part = np.ascontiguousarray(photograph[top : top + side, left : left + side])
        found.append(
            np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC))
        )
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(("size", "number"), [(32, 60), (224, 12)])
def test_changes_are_as_large_as_those_of_the_published_sets(size: int, number: int) -> None:
    table = pd.read_csv(ROOT / "published" / "corruption_rms.csv")
    table = table[table["size"] == size]
    assert set(table["corruption"]) == set(CORRUPTIONS)
    images, wrong = crops(size, number), []
    for name, severity, rms in table[["corruption", "severity", "rms"]].itertuples(index=False):
        corrupted = (corrupt(images, name, severity, seeded()) * 255).round() / 255
        ratio = float((corrupted - images).square().mean().sqrt()) / rms
        if not 0.9 <= ratio <= 1.1:
            wrong.append((name, severity, ratio))
    assert not wrong


# The published glass blur and elastic do not rise with severity.
RISING = [name for name in CORRUPTIONS if name not in ("glass_blur", "elastic")]


@pytest.mark.parametrize(("channels", "side"), [(1, 16), (1, 28), (3, 32), (3, 64)])
@pytest.mark.parametrize("name", RISING)
def test_distortion_rises_with_severity(name: str, channels: int, side: int) -> None:
    images = pictures(24, channels, side, side)
    errors = [
        float((corrupt(images, name, s, seeded()) - images).square().mean()) for s in range(1, 6)
    ]
    assert errors[0] > 1e-5
    assert all(later > earlier for earlier, later in pairwise(errors)), errors


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 16, 16), (3, 33, 20), (3, 64, 96)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_size_keeps_its_shape_and_stays_within_zero_and_one(
    name: str, shape: tuple[int, int, int]
) -> None:
    images = pictures(4, *shape)
    for severity in (1, 5):
        result = corrupt(images, name, severity, seeded())
        assert result.shape == images.shape
        assert result.dtype == images.dtype
        assert result.isfinite().all()
        assert result.min() >= 0
        assert result.max() <= 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_generator_alone_decides_the_result(name: str) -> None:
    images = pictures(6)
    torch.manual_seed(1)
    first = corrupt(images, name, 3, seeded())
    torch.manual_seed(2)
    assert torch.equal(first, corrupt(images, name, 3, seeded()))


@pytest.mark.parametrize("name", ["gaussian_noise", "motion_blur", "fog", "snow", "elastic"])
def test_each_image_of_a_batch_is_corrupted_in_its_own_way(name: str) -> None:
    images = pictures(1).repeat(2, 1, 1, 1)
    first, second = corrupt(images, name, 3, seeded())
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_black_and_white_images_do_not_become_nan(name: str) -> None:
    for value in (0.0, 1.0):
        assert corrupt(torch.full((4, 3, 16, 16), value), name, 5, seeded()).isfinite().all()


@pytest.mark.parametrize(
    "name", ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "pixelate"]
)
def test_blurs_leave_a_flat_image_as_it_is(name: str) -> None:
    flat = torch.full((2, 3, 24, 24), 0.4)
    torch.testing.assert_close(corrupt(flat, name, 5, seeded()), flat)


def test_contrast_keeps_the_mean_of_each_channel() -> None:
    images = pictures()
    torch.testing.assert_close(
        corrupt(images, "contrast", 5, seeded()).mean((2, 3)), images.mean((2, 3))
    )


def test_jpeg_at_the_highest_quality_changes_no_pixel_by_more_than_rounding() -> None:
    images = pictures()
    assert (jpeg_quantized(images, 100.0) - images).abs().max() < 3 / 255


def test_jpeg_quantisation_is_idempotent() -> None:
    once = jpeg_quantized(pictures(), 30.0)
    torch.testing.assert_close(jpeg_quantized(once, 30.0), once, atol=1e-5, rtol=0)


def test_an_unknown_name_severity_or_channel_number_is_an_error_that_says_what_exists() -> None:
    with pytest.raises(ValueError, match="choose one of gaussian_noise"):
        corrupt(pictures(2), "rain", 1, seeded())
    with pytest.raises(ValueError, match="choose 1, 2, 3, 4 or 5"):
        corrupt(pictures(2), "fog", 6, seeded())
    with pytest.raises(ValueError, match="1 or 3 channels, found 4"):
        corrupt(pictures(2, 4), "fog", 1, seeded())
