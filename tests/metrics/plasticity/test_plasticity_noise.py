"""Noise on weights costs what the algebra of a linear network says, and nothing where there is none."""

import math

import pytest
import torch
from torch import nn

from headstart.metrics.plasticity.noise import weight_noise_response, weight_scales
from headstart.networks.build import build
from headstart.params.models import ConvNet


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def convnet() -> nn.Module:
    return build(ConvNet.model_validate({"kind": "convnet", "width": 2}), 1, 8, 3, seed=1)


def test_no_noise_costs_nothing_and_changes_nothing() -> None:
    network = convnet()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images, labels = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    found = weight_noise_response(network, images, labels, weight_scales(network), 0.0)
    assert found == (0.0, 0.0, None)
    response = weight_noise_response(network, images, labels, weight_scales(network), 5.0)
    assert response.loss_increase > 0.05
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_expected_loss_increase_of_two_classes_is_that_of_the_integral() -> None:
    """One feature x = 1, logits (w + σε, 0): E ln(1 + e^-(w + σε)), by quadrature."""
    weight, sigma = 2.0, 1.5
    network = linear(torch.tensor([[weight], [0.0]]))
    images, labels = torch.ones(4, 1), torch.zeros(4, dtype=torch.long)
    # The difference of two logits, each with noise σ, has noise √2 σ.
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    losses = torch.log1p(torch.exp(-(weight + math.sqrt(2) * sigma * grid)))
    expected = float(torch.trapezoid(losses * density, grid)) - math.log1p(math.exp(-weight))
    found = weight_noise_response(network, images, labels, {"weight": 1.0}, sigma, draws=4000)
    assert found.loss_increase == pytest.approx(expected, abs=0.05)


def test_the_same_noise_moves_small_weights_further() -> None:
    """Scales are given, so that a checkpoint with larger weights is disturbed less."""
    images, labels = torch.eye(3).repeat(4, 1), torch.arange(12) % 3
    drops = [
        weight_noise_response(
            linear(size * torch.eye(3)), images, labels, {"weight": 1.0}, 1.0, draws=50
        ).accuracy_drop
        for size in (0.5, 2.0, 8.0)
    ]
    assert drops[0] > drops[1] > drops[2] >= 0


def test_the_response_depends_on_the_seed_alone() -> None:
    network, images = convnet(), torch.randn(6, 1, 8, 8)
    labels, scales = torch.arange(6) % 3, weight_scales(network)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = weight_noise_response(network, images, labels, scales, 1.0, seed=3)
    assert first == weight_noise_response(network, images, labels, scales, 1.0, seed=3)
    assert first != weight_noise_response(network, images, labels, scales, 1.0, seed=4)
    assert torch.equal(state, torch.get_rng_state())


def test_scales_are_root_mean_squares_of_weights_without_norms_and_biases() -> None:
    network = nn.Sequential(linear(torch.tensor([[3.0, 4.0]])), nn.BatchNorm1d(1))
    assert weight_scales(network) == {"0.weight": pytest.approx(math.sqrt(12.5))}
    with pytest.raises(ValueError, match="does not have"):
        weight_noise_response(network, torch.zeros(2, 2), torch.zeros(2).long(), {"x": 1.0}, 1.0)


def test_noise_that_overflows_has_a_reason() -> None:
    network = linear(torch.eye(2))
    images, labels = 100 * torch.eye(2), torch.arange(2)
    found = weight_noise_response(network, images, labels, {"weight": 1e38}, 1.0)
    assert math.isnan(found.loss_increase)
    assert found.reason == "the loss is not finite"
