"""Ranks of features, and sizes of weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headstart.metrics.plasticity.spectrum import (
    effective_learning_rates,
    effective_rank,
    feature_spectrum,
    mean_absolute_weight,
    normalised_convolutions,
    rank99,
    singular_values,
    spectrum_ratio,
    squared_weight_norms,
    stable_rank,
)
from headstart.networks.convnet import ConvNet, WideResNet


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measures(features: Tensor, centred: bool = False) -> tuple[float, float, float, float]:
    found = feature_spectrum(features, centred)
    assert found.reason is None
    return found.effective_rank, found.stable_rank, found.rank99, found.ratio


def test_the_identity_has_full_rank_by_every_measure() -> None:
    assert measures(torch.eye(64)) == pytest.approx((64, 64, 64, 1))


def test_features_on_one_line_have_rank_one_and_no_second_value() -> None:
    line = torch.outer(normal(50), normal(20, seed=1))
    for features in (line, line.float()):
        assert measures(features) == pytest.approx((1, 1, 1, math.inf), rel=1e-4)
    assert measures(normal(9, 1)) == (1, 1, 1, math.inf)


def test_a_diagonal_of_two_and_one_has_the_known_values() -> None:
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert measures(torch.diag(torch.tensor([2.0, 1.0]))) == pytest.approx(
        (math.exp(entropy), 1.25, 2, 2)
    )


def test_ninety_nine_of_a_hundred_equal_values_reach_ninety_nine_percent() -> None:
    assert rank99(torch.ones(100, dtype=torch.float64)) == 99
    assert rank99(torch.full((100,), 0.1, dtype=torch.float64)) == 99
    assert rank99(torch.ones(99, dtype=torch.float64)) == 99
    assert rank99(torch.ones(101, dtype=torch.float64)) == 100
    assert rank99(torch.tensor([98.0, 1.0, 1.0], dtype=torch.float64)) == 2
    assert rank99(torch.tensor([99.0, 1.0], dtype=torch.float64)) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_the_ranks_are_those_of_a_loop_over_singular_values(
    images: int, width: int, seed: int
) -> None:
    values = singular_values(normal(images, width, seed=seed))
    total, entropy, reached, fewest = float(values.sum()), 0.0, 0.0, 0
    for value in values.tolist():
        entropy -= value / total * math.log(value / total)
        if reached / total < 0.99:
            reached, fewest = reached + value, fewest + 1
    assert effective_rank(values) == pytest.approx(math.exp(entropy))
    assert rank99(values) == fewest
    assert 1 <= stable_rank(values) <= effective_rank(values) + 1e-9 <= len(values) + 2e-9


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 7.0, 1e200])
@pytest.mark.parametrize("centred", [False, True])
def test_rescaling_rotating_and_reordering_change_nothing(scale: float, centred: bool) -> None:
    features = normal(40, 12)
    rotation = torch.linalg.qr(normal(12, 12, seed=1)).Q
    changed = scale * (features @ rotation)[torch.randperm(40)]
    assert measures(changed, centred) == pytest.approx(measures(features, centred))


def test_centring_removes_what_all_images_share_and_is_off_by_default() -> None:
    features = normal(40, 12)
    moved = features + 100
    assert feature_spectrum(moved) == feature_spectrum(moved, centred=False)
    assert feature_spectrum(moved).effective_rank < 2
    assert measures(moved, centred=True) == pytest.approx(measures(features, centred=True))


def test_features_of_low_precision_are_measured_in_float64() -> None:
    features = normal(40, 12).bfloat16()
    assert measures(features) == measures(features.double())


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (torch.zeros(5, 3), "zero features"),
        (torch.rand(1, 3).expand(5, 3), "constant features"),
        (torch.tensor([[1.0, math.nan], [0.0, 1.0]]), "not finite"),
        (torch.tensor([[1.0, math.inf], [0.0, 1.0]]), "not finite"),
    ],
)
def test_features_without_a_spectrum_give_nan_and_the_reason(
    features: Tensor, reason: str, centred: bool
) -> None:
    found = feature_spectrum(features, centred)
    assert found.reason is not None
    assert reason in found.reason
    values = (found.effective_rank, found.stable_rank, found.rank99, found.ratio)
    assert all(math.isnan(value) for value in values)


def test_values_that_are_all_zero_have_no_rank() -> None:
    values = singular_values(torch.zeros(3, 3))
    for measure in (effective_rank, stable_rank, rank99, spectrum_ratio):
        assert math.isnan(measure(values))


@pytest.mark.parametrize("images", [0, 1])
def test_fewer_than_two_images_are_refused_with_their_number(images: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 images are needed, found {images}"):
        feature_spectrum(torch.ones(images, 3))


def test_the_mean_absolute_weight_is_over_all_parameters() -> None:
    network = nn.Linear(3, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [-4.0, 0.0, 0.0]]))
        network.bias.copy_(torch.tensor([2.0, -4.0]))
    assert mean_absolute_weight(network) == 2
    assert squared_weight_norms(network) == {"weight": 30}
    with pytest.raises(ValueError, match="no parameters"):
        mean_absolute_weight(nn.ReLU())


class SharedStem(nn.Module):
    """A convolution that feeds a norm and is used again; another feeds a norm alone; one nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 1)
        self.last = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        return (maps + self.last(self.inner(self.norm(maps)))).mean((2, 3))


def scale_invariant(network: nn.Module, images: Tensor) -> set[str]:
    """Names of convolutions whose tripled weights leave the function as it is, by batch statistics."""
    network.double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-14
            nn.init.uniform_(module.bias)
    found, before = set(), network(images)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            with torch.no_grad():
                module.weight.mul_(3)
            if torch.allclose(network(images), before, rtol=1e-6, atol=1e-8):
                found.add(f"{name}.weight")
            with torch.no_grad():
                module.weight.div_(3)
    return found


@pytest.mark.parametrize(
    ("network", "fed", "convolutions"),
    [
        (ConvNet(3, 4), 6, 6),
        (WideResNet(3, 16, 2), 7, 16),
        (WideResNet(3, 16, 1), 6, 15),
        (SharedStem(), 1, 2),
    ],
    ids=["convnet", "wide", "thin", "shared"],
)
def test_normalised_convolutions_are_those_whose_length_does_not_matter(
    network: nn.Module, fed: int, convolutions: int
) -> None:
    images = normal(4, 3, 8, 8)
    named = normalised_convolutions(network.double(), images)
    assert len(named) == fed
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == convolutions
    assert set(named) == scale_invariant(network, images)


def test_the_effective_learning_rate_keeps_its_value_under_the_scale_law() -> None:
    network, images = ConvNet(3, 4), normal(2, 3, 8, 8).float()
    rates = effective_learning_rates(network, images, 0.1)
    name = "stage1.block1.convolution.weight"
    weight = network.get_parameter(name)
    assert rates[name] == pytest.approx(0.1 / float(weight.detach().square().sum()))
    with torch.no_grad():
        for convolution in rates:
            network.get_parameter(convolution).mul_(4)
    assert effective_learning_rates(network, images, 1.6) == pytest.approx(rates)
    with torch.no_grad():
        weight.zero_()
    assert math.isnan(effective_learning_rates(network, images, 0.1)[name])
    assert (
        effective_learning_rates(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), images, 1.0) == {}
    )
