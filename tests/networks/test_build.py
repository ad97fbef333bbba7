import pytest
import torch
from torch import nn

from headstart.networks.build import build, new_head
from headstart.networks.convnet import WideResNet
from headstart.networks.network import Network, block_names, every_block
from headstart.networks.weights import state_digest
from headstart.params.models import ConvNet, Model
from headstart.params.models import WideResNet as WideResNetParams

CONVNET = ConvNet(kind="convnet", width=4)
WRN = WideResNetParams(kind="wrn", depth=10, width=1, dropout=0.2)


def digest(network: Network) -> str:
    return state_digest(network.state_dict())


@pytest.mark.parametrize("model", [CONVNET, WRN])
def test_a_network_depends_on_its_seed_and_not_on_what_was_built_or_drawn_before(
    model: Model,
) -> None:
    first = build(model, 1, 16, 5, seed=0)
    torch.rand(7)
    other = build(model, 1, 16, 5, seed=1)
    again = build(model, 1, 16, 5, seed=0)
    assert digest(first) == digest(again) != digest(other)


def test_building_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    new_head(build(CONVNET, 1, 16, 5, seed=0), 3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_new_head_leaves_the_backbone_bit_for_bit_and_depends_on_its_seed_alone() -> None:
    network, other = build(CONVNET, 1, 16, 5, seed=0), build(CONVNET, 1, 16, 9, seed=3)
    backbone = state_digest(network.backbone.state_dict())
    for each in (network, other):
        new_head(each, 4, seed=1453)
    assert state_digest(network.backbone.state_dict()) == backbone
    assert state_digest(network.head.state_dict()) == state_digest(other.head.state_dict())
    assert network(torch.rand(2, 1, 16, 16)).shape == (2, 4)
    new_head(other, 4, seed=1454)
    assert state_digest(network.head.state_dict()) != state_digest(other.head.state_dict())


def test_a_head_starts_glorot_uniform_without_bias() -> None:
    network = build(CONVNET, 1, 16, 500, seed=0)
    bound = (6 / (network.feature_dimension + 500)) ** 0.5
    assert network.head.weight.abs().max() <= bound
    assert network.head.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not network.head.bias.any()


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (1, 8)])
def test_logits_are_the_head_of_the_features(channels: int, size: int) -> None:
    network = build(CONVNET, channels, size, 5, seed=0).eval()
    images = torch.rand(3, channels, size, size)
    features = network.features(images)
    assert features.shape == (3, network.feature_dimension) == (3, 16)
    assert torch.equal(network(images), network.head(features))
    assert all(key.split(".")[0] in ("backbone", "head") for key in network.state_dict())


def test_the_blocks_of_the_convolutional_network_lead_to_its_features() -> None:
    network = build(CONVNET, 1, 16, 5, seed=0).eval()
    images = torch.rand(2, 1, 16, 16)
    blocks = every_block(network.backbone.eval())(images)
    shapes = [(2, 4, 16, 16)] * 2 + [(2, 8, 8, 8)] * 2 + [(2, 16, 4, 4)] * 2
    assert [tuple(block.shape) for block in blocks] == shapes
    assert len(block_names(network.backbone)) == len(blocks)
    assert torch.equal(blocks[-1].mean(dim=(2, 3)), network.features(images))


def test_reading_blocks_leaves_no_hooks_behind() -> None:
    network = build(WRN, 1, 16, 5, seed=0)
    every_block(network.backbone.eval())(torch.rand(2, 1, 16, 16))
    assert not any(module._forward_hooks for module in network.modules())


def test_wrn_28_10_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Network(WideResNet(3, 28, 10), nn.Linear(640, 10))
    assert sum(parameter.numel() for parameter in network.parameters()) == 36_479_194


def test_wrn_has_three_groups_of_blocks_that_halve_the_maps_twice() -> None:
    network = build(WideResNetParams(kind="wrn", depth=16, width=2), 3, 32, 5, seed=0)
    blocks = every_block(network.backbone.eval())(torch.rand(1, 3, 32, 32))
    shapes = [(1, 32, 32, 32)] * 2 + [(1, 64, 16, 16)] * 2 + [(1, 128, 8, 8)] * 2
    assert [tuple(block.shape) for block in blocks] == shapes


def test_the_norms_of_a_wrn_can_be_those_of_keras() -> None:
    model = WideResNetParams(kind="wrn", depth=10, width=4, norm_momentum=0.9, norm_scale="uniform")
    network, usual = (build(each, 3, 16, 5, seed=0) for each in (model, WRN))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    scales = torch.cat([norm.weight.detach() for norm in norms])
    assert {norm.momentum for norm in norms} == {0.9}
    assert scales.abs().max() <= 0.05
    assert scales.std() == pytest.approx(0.1 / 12**0.5, rel=0.1)
    usual_norms = [module for module in usual.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and norm.momentum == 0.1 for norm in usual_norms)


def test_dropout_of_a_wrn_acts_in_training_only() -> None:
    network = build(WRN, 1, 16, 5, seed=0)
    images = torch.rand(4, 1, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
