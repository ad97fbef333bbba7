import torch

from headstart.params.recipe import Augmentation
from headstart.tasks.augmentation import Changes, augment, draw_changes


def images(n: int = 6, channels: int = 3, height: int = 8, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (n, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def drawn(number: int, aspect: float = 1.0, **fields: object) -> Changes:
    augmentation = Augmentation.model_validate(fields)
    return draw_changes(augmentation, number, aspect, torch.Generator().manual_seed(1))


def test_without_augmentation_images_stay_as_they_are() -> None:
    assert torch.equal(augment(images(), drawn(6)), images().float())


def test_a_shift_moves_the_window_and_repeats_edges() -> None:
    x = images(1)
    moved = augment(x, Changes(shift=torch.tensor([[2, -3]]))).to(torch.uint8)
    padded = torch.nn.functional.pad(x.float(), (3, 3, 3, 3), mode="replicate")
    assert torch.equal(moved, padded[:, :, 5:13, 0:8].to(torch.uint8))


def test_a_flip_mirrors_left_to_right() -> None:
    x = images(2)
    flipped = augment(x, Changes(flip=torch.tensor([True, False])))
    assert torch.equal(flipped[0], x[0].flip(-1).float())
    assert torch.equal(flipped[1], x[1].float())


def test_shift_and_flip_together_are_one_after_the_other() -> None:
    x = images(4, height=6, width=9)
    shift, flip = torch.tensor([[1, 2], [-1, 0], [0, -4], [3, 3]]), torch.tensor([1, 0, 1, 1]) == 1
    one_by_one = augment(augment(x, Changes(shift=shift)).to(torch.uint8), Changes(flip=flip))
    assert torch.equal(augment(x, Changes(shift=shift, flip=flip)), one_by_one)


def test_shifts_reach_as_far_as_asked_and_no_farther() -> None:
    shift = drawn(4000, shift=2).shift
    assert shift is not None
    assert shift.unique(dim=0).tolist() == [[y, x] for y in range(-2, 3) for x in range(-2, 3)]


def test_half_of_the_images_are_mirrored() -> None:
    flip = drawn(10_000, flip=True).flip
    assert flip is not None
    assert 0.48 < flip.float().mean() < 0.52


def test_a_crop_of_the_whole_area_and_a_turn_by_nothing_change_nothing() -> None:
    still = torch.eye(2, 3).expand(6, 2, 3)
    torch.testing.assert_close(augment(images(), Changes(view=still)), images().float())


def test_a_quarter_turn_is_exact() -> None:
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0]]).expand(6, 2, 3)
    turned = augment(images(), Changes(view=turn))
    torch.testing.assert_close(turned, images().rot90(1, (2, 3)).float(), rtol=0, atol=1e-2)


def test_crops_lie_within_the_image_and_have_the_area_asked_for() -> None:
    view = drawn(5000, crop_scale=(0.25, 0.5)).view
    assert view is not None
    width, height = view[:, 0, 0], view[:, 1, 1]
    area = width * height
    assert 0.249 < area.min() < 0.26
    assert 0.49 < area.max() < 0.501
    assert (view[:, 0, 2].abs() + width <= 1 + 1e-6).all()
    assert (view[:, 1, 2].abs() + height <= 1 + 1e-6).all()
    assert (width / height).log().abs().max() <= torch.tensor(4 / 3).log() + 1e-6


def test_a_rotation_turns_pixels_not_coordinates_where_images_are_wide() -> None:
    view = drawn(100, aspect=2.0, rotation=30).view
    assert view is not None
    pixels = torch.diag(torch.tensor([2.0, 1.0]))
    turn = pixels @ view[:, :, :2] @ pixels.inverse()
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2).expand(100, 2, 2))
    degrees = torch.atan2(turn[:, 1, 0], turn[:, 0, 0]).rad2deg()
    assert degrees.min() < -25
    assert degrees.max() > 25
    assert degrees.abs().max() <= 30 + 1e-4


def test_colour_factors_of_one_change_nothing() -> None:
    jittered = augment(images(), Changes(colour=torch.ones(6, 3)))
    torch.testing.assert_close(jittered, images().float())


def test_colour_factors_of_zero_are_black_flat_and_grey() -> None:
    x = images(3)
    factors = torch.ones(3, 3).fill_diagonal_(0)
    black, flat, grey = augment(x, Changes(colour=factors))
    assert black.max() == 0
    torch.testing.assert_close(flat, flat[:1, :1, :1].expand_as(flat))
    torch.testing.assert_close(grey, grey[:1].expand_as(grey))


def test_grey_images_can_be_jittered() -> None:
    jittered = augment(images(6, channels=1), drawn(6, colour_jitter=0.4))
    assert jittered.shape == (6, 1, 8, 8)
    assert jittered.min() >= 0
    assert jittered.max() <= 255


def test_an_image_is_changed_alike_in_every_batch() -> None:
    x, changes = images(6), drawn(6, shift=1, flip=True, crop_scale=(0.5, 1), rotation=20)
    whole = augment(x, changes)
    halves = [augment(x[a:b], changes.rows(a, b)) for a, b in ((0, 2), (2, 6))]
    torch.testing.assert_close(whole, torch.cat(halves))
