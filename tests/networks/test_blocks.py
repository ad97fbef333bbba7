"""Every family of networks shows its blocks, and each can be inverted, one image not minding another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from headstart.metrics.representations.inversion import InversionOptimizer, invert
from headstart.metrics.representations.stir import stir_grid, target_grams
from headstart.networks.build import build
from headstart.networks.network import block_names, every_block, read_tokens, truncated
from headstart.params.models import Model
from headstart.studies.invariance.checks import _dry_run_problem


def timm(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"kind": "timm", "name": name, "kwargs": kwargs}


VIT = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
# Family, its params, the side of its images, its blocks, and what can be read of them.
FAMILIES: dict[str, tuple[dict[str, Any], int, int, tuple[str, ...]]] = {
    "convnet": ({"kind": "convnet", "width": 4}, 16, 6, ("all", "mean")),
    "wide_resnet": ({"kind": "wrn", "depth": 10, "width": 1}, 16, 3, ("all", "mean")),
    "resnet18": (timm("resnet18"), 32, 5, ("all", "mean")),
    "resnet50": (timm("resnet50"), 32, 5, ("all", "mean")),
    "convnext": (timm("convnext_atto"), 32, 4, ("all", "mean")),
    "swin": (timm("swin_tiny_patch4_window7_224", embed_dim=12, depths=(1, 1), num_heads=(1, 2),
                  window_size=4), 32, 2, ("all", "mean")),
    "vit": (timm("vit_tiny_patch16_224", **VIT), 16, 3, ("all", "class", "mean")),
    "vit_without_class_token": (timm("vit_tiny_patch16_224", **VIT, class_token=False, global_pool="avg"),
                                16, 3, ("all", "mean")),
    "mixer": (timm("mixer_s32_224"), 64, 8, ("all", "mean")),
    "efficientnet": (timm("test_efficientnet"), 32, 5, ("all", "mean")),
    "mobilenetv3": (timm("mobilenetv3_small_050"), 32, 5, ("all", "mean")),
    # Their class tokens join after the last of the blocks.
    "cait": (timm("cait_xxs24_224", **VIT), 16, 3, ("all", "mean")),
    "xcit": (timm("xcit_nano_12_p8_224", **VIT), 16, 3, ("all", "mean")),
    "hiera": (timm("hiera_tiny_224", embed_dim=8, num_heads=1, stages=(1, 1, 1, 1)), 64, 4, ("all", "mean")),
}  # fmt: skip


def backbone(family: str) -> nn.Module:
    model: Model = TypeAdapter(Model).validate_python(FAMILIES[family][0])
    return build(model, 3, FAMILIES[family][1], 2, seed=0).backbone.eval().requires_grad_(False)


def images(side: int) -> Tensor:
    return torch.rand(6, 3, side, side, generator=torch.Generator().manual_seed(1))


def inverted_at_block_1(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Invert the first block from noise by 20 steps of Adam; the docs have these numbers for every family.

    Returns:
        The residual of each image as a share of that of its start, and STIR of the network with itself at
        every block, given the first.
    """
    first = truncated(network, 0)
    start = torch.rand(x.shape, generator=torch.Generator().manual_seed(2))
    found = invert(first, first(x), start, InversionOptimizer(20, 0.1, "adam"))
    grams = target_grams(every_block(network), x[None], found.images[None, None])
    return found.residual / found.seed_residual, stir_grid(grams)[0, 0]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_is_inverted_and_compared_at_its_blocks(family: str) -> None:
    network = backbone(family)
    _, side, blocks, readings = FAMILIES[family]
    assert len(block_names(network)) == blocks
    x = images(side)
    outputs = every_block(network)(x)
    for block in range(blocks):
        torch.testing.assert_close(truncated(network, block)(x), outputs[block])
    for tokens in ("all", "class", "mean"):
        problem = _dry_run_problem(network, tokens, (3, side, side))  # type: ignore[arg-type]
        assert (problem == "") == (tokens in readings), problem
        if tokens == "class" and problem:
            assert "pass no class token on" in problem
    reached, stir = inverted_at_block_1(network, x)
    assert (reached < 1).all()
    assert stir.shape == (blocks,)
    assert torch.isfinite(stir).all()


def test_the_mean_leaves_the_class_token_out_and_maps_are_pooled_over_places() -> None:
    vit, swin, convnet = backbone("vit"), backbone("swin"), backbone("convnet")
    tokens = torch.randn(2, 5, 16)
    torch.testing.assert_close(read_tokens(vit, tokens, "mean"), tokens[:, 1:].mean(1))
    torch.testing.assert_close(read_tokens(vit, tokens, "class"), tokens[:, 0])
    maps = torch.randn(2, 3, 3, 7)
    torch.testing.assert_close(read_tokens(swin, maps, "mean"), maps.mean((1, 2)))
    torch.testing.assert_close(read_tokens(convnet, maps, "mean"), maps.mean((2, 3)))


def test_a_network_that_mixes_images_or_pairs_is_refused() -> None:
    class Pair(nn.Module):
        block_names = ("first",)

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Flatten()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.first(images - images.mean(0))

    assert "block 1 mixes the images of a batch" in _dry_run_problem(Pair(), "all", (3, 4, 4))


def test_an_in_place_layer_does_not_change_what_was_read_before_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten()).eval()
    x = torch.rand(4, 3, 8, 8)
    first = every_block(network)(x)[0]
    assert (first < 0).any()
    torch.testing.assert_close(first, truncated(network, 0)(x))
