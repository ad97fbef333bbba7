from dataclasses import replace

import pytest
import timm
import torch
from torch import Tensor, nn

from headstart.metrics.representations.inversion import (
    FAST,
    LONG,
    PAPER,
    Inversion,
    InversionOptimizer,
    SeedKind,
    invert,
    seed_images,
    tensor_float_32,
)
from headstart.networks.network import every_block, number_of_blocks, truncated


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 12) -> Tensor:
    return torch.rand(count, 3, 4, 4, generator=seeded(), dtype=torch.float64)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh())
    network = nn.Sequential(first, nn.Sequential(nn.Linear(32, 16), nn.Tanh()), nn.Linear(16, 8))
    return network.double().eval().requires_grad_(False)


def vision_transformer() -> nn.Module:
    torch.manual_seed(0)
    network = timm.models.VisionTransformer(
        img_size=8, patch_size=4, in_chans=3, embed_dim=16, depth=3, num_heads=2, num_classes=4
    )
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("optimizer", [replace(LONG, decay=True), FAST], ids=["decaying", "adam"])
@pytest.mark.parametrize("kind", ["noise", "other_image"])
def test_inversion_reaches_the_representation_without_returning_the_image(
    kind: SeedKind, optimizer: InversionOptimizer
) -> None:
    represent, images = truncated(small_network(), 1), pictures()
    result = invert(represent, represent(images), seed_images(images, kind, seeded()), optimizer)
    assert result.pass_rate(0.1) == 1
    torch.testing.assert_close(
        result.residual,
        (represent(result.images) - represent(images)).norm(dim=1) / represent(images).norm(dim=1),
    )
    assert (result.images - images).flatten(1).norm(dim=1).min() > 0.5
    assert result.images.min() >= 0
    assert result.images.max() <= 1


def test_the_faster_optimiser_ends_nearer_than_the_papers_preset_on_a_vision_transformer() -> None:
    represent, images = (
        truncated(vision_transformer(), 2),
        torch.rand(8, 3, 8, 8, generator=seeded()),
    )
    seeds = seed_images(images, "noise", seeded())
    paper, fast = (invert(represent, represent(images), seeds, d) for d in (PAPER, FAST))
    assert fast.residual.median() < 0.3 * paper.residual.median()
    assert fast.pass_rate() > paper.pass_rate()


def test_the_first_step_of_the_paper_has_length_one_half_before_projection() -> None:
    represent, images = truncated(small_network(), 0), pictures()
    seeds = 0.5 * torch.ones_like(images)
    once = replace(PAPER, steps=1)
    moved = invert(represent, represent(images), seeds, once).images - seeds
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((12,), 0.5).double())


def test_the_residual_never_rises_with_the_number_of_steps() -> None:
    represent, images = truncated(small_network(), 2), pictures()
    seeds = seed_images(images, "noise", seeded())
    results = [
        invert(represent, represent(images), seeds, replace(PAPER, steps=steps))
        for steps in (0, 1, 5, 20, 50, 100)
    ]
    residuals = torch.stack([result.residual for result in results])
    assert (residuals.diff(dim=0) <= 0).all()
    assert torch.equal(results[0].residual, results[0].seed_residual)
    assert torch.equal(results[0].images, seeds.clamp(0, 1))


@pytest.mark.parametrize("optimizer", [PAPER, replace(FAST, steps=20)], ids=["paper", "fast"])
def test_the_result_does_not_depend_on_the_batch_size_or_on_the_order(
    optimizer: InversionOptimizer,
) -> None:
    represent, images = truncated(small_network(), 1), pictures()
    seeds, targets = seed_images(images, "noise", seeded()), represent(images)
    whole = invert(represent, targets, seeds, optimizer)
    order = torch.randperm(12, generator=seeded(1))
    for size in (1, 5):
        parts = invert(represent, targets[order], seeds[order], optimizer, batch_size=size)
        torch.testing.assert_close(parts.images, whole.images[order])
        torch.testing.assert_close(parts.residual, whole.residual[order])


def test_an_orthogonal_map_is_inverted_back_to_the_image_itself() -> None:
    rotation = torch.linalg.qr(torch.randn(48, 48, generator=seeded(), dtype=torch.float64)).Q
    images = pictures()
    flat = images.flatten(1) @ rotation
    result = invert(lambda x: x.flatten(1) @ rotation, flat, torch.rand_like(images), FAST)
    torch.testing.assert_close(result.images, images, atol=0.01, rtol=0)


def test_without_bounds_pixels_are_free() -> None:
    images = 3 * torch.randn(6, 3, 4, 4, generator=seeded(), dtype=torch.float64)
    free = InversionOptimizer(steps=300, step_size=0.5, method="momentum", decay=True, bounds=None)
    result = invert(lambda x: 2 * x, 2 * images, torch.zeros_like(images), free)
    torch.testing.assert_close(result.images, images, atol=0.02, rtol=0)


def test_noise_differs_between_images_and_a_shared_seed_does_not() -> None:
    images = pictures()
    noise, shared = (seed_images(images, kind, seeded()) for kind in ("noise", "same_noise"))
    assert noise.std(0).min() > 0
    assert shared.std(0).max() == 0
    assert noise.abs().max() > 1
    assert torch.equal(noise, seed_images(images, "noise", seeded()))
    assert seed_images(images, "white", seeded()).unique().tolist() == [1]
    assert seed_images(images, "black", seeded()).unique().tolist() == [0]


@pytest.mark.parametrize("count", [2, 3, 7, 12])
def test_no_image_is_its_own_natural_seed(count: int) -> None:
    images = pictures(count)
    seeds = seed_images(images, "other_image", seeded(count))
    distances = torch.cdist(images.flatten(1), seeds.flatten(1))
    assert distances.diagonal().min() > 0
    assert (distances == 0).sum(0).tolist() == (distances == 0).sum(1).tolist() == [1] * count


def test_an_unfinished_inversion_is_flagged_with_its_pass_rate() -> None:
    result = Inversion(
        images=pictures(4),
        residual=torch.tensor([0.01, 0.02, 0.3, 0.4]),
        seed_residual=torch.full((4,), 4.0),
        other_residual=torch.ones(4),
    )
    assert result.pass_rate(0.05) == 0.5
    assert result.converged(0.1, "seed").tolist() == [True, True, True, True]
    assert "2 of 4 images reach 0.05 of the residual of other" in str(result.unconverged_reason())
    assert result.unconverged_reason(minimum_pass_rate=0.5) is None


def test_a_large_common_offset_fools_the_plain_residual_but_not_the_criterion() -> None:
    images = pictures()
    represent = lambda x: x.flatten(1) + 100  # noqa: E731
    result = invert(represent, represent(images), torch.rand_like(images), replace(PAPER, steps=0))
    assert result.pass_rate(0.05, "features") == 1
    assert result.pass_rate(0.05, "other") == 0


def test_features_of_length_zero_are_nan_with_a_reason() -> None:
    images = pictures()
    result = invert(lambda x: 0 * x, torch.zeros_like(images), images.flip(0))
    assert result.residual.isnan().all()
    assert result.pass_rate() == 0
    assert "length zero, or not finite, in 12 images" in str(result.unconverged_reason())


def test_targets_without_a_seed_each_are_an_error() -> None:
    with pytest.raises(ValueError, match="12 targets but 3 seeds"):
        invert(nn.Flatten(), pictures().flatten(1), pictures(3))
    with pytest.raises(ValueError, match="at least 2 images"):
        seed_images(pictures(1), "other_image", seeded())


def test_a_truncated_vision_transformer_gives_all_tokens_of_the_block_and_skips_later_ones() -> (
    None
):
    network, images = vision_transformer(), torch.rand(5, 3, 8, 8, generator=seeded())
    outputs: list[Tensor] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    second = truncated(network, 1)(images)
    assert len(outputs) == 2
    assert second.shape == (5, 1 + 4, 16)
    assert torch.equal(second, outputs[1])
    outputs.clear()
    for layer, output in zip(every_block(network)(images), outputs, strict=True):
        assert torch.equal(layer, output)


def test_a_truncated_sequence_gives_the_output_of_its_child() -> None:
    network, images = small_network(), pictures()
    layers = every_block(network)(images)
    assert number_of_blocks(network) == len(layers) == 3
    for block, layer in enumerate(layers):
        assert torch.equal(truncated(network, block)(images), layer)
    assert torch.equal(layers[-1], network(images))


def test_a_missing_block_a_network_without_blocks_and_training_mode_are_errors() -> None:
    with pytest.raises(ValueError, match="no block 3: the network has blocks 0 to 2"):
        truncated(vision_transformer(), 3)
    with pytest.raises(TypeError, match="Linear has no blocks"):
        truncated(nn.Linear(3, 3), 0)
    with pytest.raises(TypeError, match="Linear has no blocks"):
        every_block(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="call eval"):
        truncated(small_network().train(), 0)


def test_tensor_float_32_is_for_the_descent_alone() -> None:
    seen: list[bool] = []

    def represent(images: Tensor) -> Tensor:
        seen.append(torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32)
        return images.flatten(1) * 2

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    images = torch.rand(3, 1, 4, 4)
    invert(represent, represent(images), images.flip(0), precision=tensor_float_32)
    assert not seen[0]
    assert all(seen[1:])
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
