"""Dormant units, from activations and from networks."""

import math

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.metrics.plasticity.dormancy import (
    collect_activity,
    lop_dormant_fraction,
    redo_dormant_fraction,
    unit_activity,
)
from headstart.networks.convnet import ConvNet, WideResNet
from headstart.networks.network import Network, every_block


def rectified(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def batches(count: int = 12, size: int = 8, batch: int = 5) -> list[tuple[Tensor, Tensor]]:
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return list(zip(images.split(batch), torch.zeros(count).long().split(batch), strict=True))


@pytest.mark.parametrize("shape", [(200, 10), (200, 10, 3, 2)], ids=["units", "channels"])
@pytest.mark.parametrize("zeroed", [0, 3, 10])
def test_zeroed_units_are_dormant_by_every_definition(shape: tuple[int, ...], zeroed: int) -> None:
    activations = rectified(*shape)
    activations[:, :zeroed] = 0
    layers = [unit_activity(activations)]
    for found in (
        lop_dormant_fraction(layers),
        lop_dormant_fraction(layers, count="positions"),
        redo_dormant_fraction(layers, 0.025),
        redo_dormant_fraction(layers, 0.1),
        redo_dormant_fraction(layers, 0.0),
    ):
        assert found == (zeroed / 10, 10, None)


def test_a_unit_is_dormant_below_one_percent_of_the_images_and_not_at_one_percent() -> None:
    activations = torch.zeros(1000, 3)
    activations[:9, 0] = activations[:10, 1] = activations[:, 2] = 1
    assert lop_dormant_fraction([unit_activity(activations)]).fraction == pytest.approx(1 / 3)


def test_a_channel_at_few_positions_of_every_image_is_dormant_only_if_positions_count() -> None:
    activations = rectified(50, 2, 16, 16)
    activations[:, 0] = 0
    activations[:, 0, 3, 4] = 1
    layers = [unit_activity(activations)]
    assert lop_dormant_fraction(layers).fraction == 0
    assert lop_dormant_fraction(layers, count="positions").fraction == 0.5
    assert layers[0].firing_positions[0] == pytest.approx(1 / 256)


def test_the_threshold_of_redo_is_relative_to_the_mean_of_the_layer() -> None:
    activations = torch.tensor([0.025, 0.1, 1.0, 2.875]).expand(4, 4)
    layers = [unit_activity(activations)]
    assert [redo_dormant_fraction(layers, tau).fraction for tau in (0.02, 0.026, 0.11)] == [
        0.0,
        0.25,
        0.5,
    ]
    scaled = [unit_activity(-100 * activations), *layers]
    assert redo_dormant_fraction(scaled, 0.11) == (0.5, 8, None)


def test_the_fraction_is_over_the_units_of_all_layers() -> None:
    dead, alive = unit_activity(torch.zeros(5, 2)), unit_activity(rectified(5, 6))
    assert lop_dormant_fraction([dead, alive]) == (0.25, 8, None)
    assert redo_dormant_fraction([dead, alive]) == (0.25, 8, None)


def test_gelu_has_no_firing_rate_and_gives_nan_and_the_reason() -> None:
    gelu = unit_activity(F.gelu(torch.randn(5, 4)), "gelu")
    found = lop_dormant_fraction([gelu])
    assert math.isnan(found.fraction)
    assert found.reason == "all layers are GELU, whose output is never exactly zero"
    assert lop_dormant_fraction([gelu, unit_activity(rectified(5, 3))]) == (0, 3, None)
    assert redo_dormant_fraction([gelu]).units == 4


def test_activations_that_are_not_finite_give_nan_and_the_reason() -> None:
    layers = [unit_activity(torch.tensor([[1.0, math.nan], [1.0, 0.0]]))]
    for found in (lop_dormant_fraction(layers), redo_dormant_fraction(layers)):
        assert math.isnan(found.fraction)
        assert found.reason == "activations that are not finite"


def test_what_cannot_be_is_refused() -> None:
    one = [unit_activity(torch.ones(1, 3))]
    for measure in (lop_dormant_fraction, redo_dormant_fraction):
        with pytest.raises(ValueError, match="at least 2 images are needed, found 1"):
            measure(one)
        with pytest.raises(ValueError, match="no layers"):
            measure([])
    layers = [unit_activity(torch.ones(2, 3))]
    with pytest.raises(ValueError, match="the rate is 0"):
        lop_dormant_fraction(layers, 0.0)
    with pytest.raises(ValueError, match="τ is -1"):
        redo_dormant_fraction(layers, -1.0)
    with pytest.raises(ValueError, match="found 1"):
        collect_activity(ConvNet(3, 2), batches(1))
    with pytest.raises(ValueError, match="found 0"):
        collect_activity(ConvNet(3, 2), [])
    with pytest.raises(ValueError, match="Linear calls neither ReLU nor GELU"):
        collect_activity(nn.Linear(8, 2), batches())


def test_the_activity_of_a_network_is_that_of_its_activations_whatever_the_batches() -> None:
    backbone = ConvNet(3, 4)
    network = Network(backbone, nn.Linear(16, 2))
    layers = collect_activity(network, batches(batch=5))
    assert list(layers) == [f"backbone.{name}.relu" for name in backbone.block_names]
    network.eval()
    # In this network every block ends with its ReLU.
    outputs = every_block(backbone.eval())(torch.cat([images for images, _ in batches()]))
    for found, output in zip(layers.values(), outputs, strict=True):
        expected = unit_activity(output)
        torch.testing.assert_close(found[:3], expected[:3])
        assert found.images == 12
        assert len(found.magnitude) == output.shape[1]


def test_a_pass_leaves_the_network_as_it_was() -> None:
    network = ConvNet(3, 4).train()
    network.stage2.eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    collect_activity(network, batches())
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_a_network_that_fails_is_left_without_hooks() -> None:
    network = ConvNet(4, 4).train()
    with pytest.raises(RuntimeError, match="channels"):
        collect_activity(network, batches())
    assert network.training
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_activations_called_as_functions_are_found_too() -> None:
    layers = collect_activity(WideResNet(3, 10, 1), batches())
    assert list(layers) == [
        *("group1.0", "group1.0#2", "group2.0", "group2.0#2", "group3.0", "group3.0#2"),
        "network",
    ]
    assert [len(layer.magnitude) for layer in layers.values()] == [16, 16, 16, 32, 32, 64, 64]


def test_planted_dead_channels_of_a_network_are_counted() -> None:
    network = ConvNet(3, 4)
    with torch.no_grad():
        norm = network.stage1.block1.norm
        norm.bias[:2] = -100.0
    layers = collect_activity(network, batches(40))
    assert lop_dormant_fraction([layers["stage1.block1.relu"]]) == (0.5, 4, None)
    assert redo_dormant_fraction([layers["stage1.block1.relu"]]).fraction == 0.5


def test_the_hidden_units_of_a_transformer_lie_along_the_last_axis() -> None:
    torch.manual_seed(0)
    network = timm.models.VisionTransformer(
        img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=4
    )
    layers = collect_activity(network, batches())
    assert list(layers) == ["blocks.0.mlp.act", "blocks.1.mlp.act"]
    assert all(layer.rectifier == "gelu" for layer in layers.values())
    assert [len(layer.magnitude) for layer in layers.values()] == [64, 64]


def test_maps_with_channels_last_are_told_by_the_linear_layer_before() -> None:
    torch.manual_seed(0)
    network = timm.models.ConvNeXt(depths=(1, 1, 1, 1), dims=(4, 6, 8, 10), num_classes=4)
    layers = collect_activity(network, batches(4, 32))
    assert [len(layer.magnitude) for layer in layers.values()] == [16, 24, 32, 40]
