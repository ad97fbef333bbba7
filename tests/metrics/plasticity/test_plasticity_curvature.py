"""Gradient norm and top Hessian eigenvalue of the loss."""

import math

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from headstart.metrics.plasticity.curvature import (
    gradient_norm,
    power_iteration,
    top_hessian_eigenvalue,
)

Batches = list[tuple[Tensor, Tensor]]


def data(count: int = 12, batch: int = 5, classes: int = 3) -> Batches:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 1, 4, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (count,), generator=generator)
    return list(zip(images.split(batch), labels.split(batch), strict=True))


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False),
        nn.BatchNorm2d(2),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).double()
    nn.init.uniform_(network[1].running_mean)
    return network


def mean_loss(network: nn.Module, batches: Batches, vector: Tensor) -> Tensor:
    """The loss as a function of all parameters in one vector."""
    names, weights = zip(*network.named_parameters(), strict=True)
    pieces = vector.split([weight.numel() for weight in weights])
    state = {
        name: piece.view_as(weight)
        for name, piece, weight in zip(names, pieces, weights, strict=True)
    }
    images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    return F.cross_entropy(functional_call(network, state, images), labels)


def flat(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach()


def test_the_gradient_norm_is_that_of_the_mean_loss_whatever_the_batches() -> None:
    network = small_network()
    found = [gradient_norm(network, data(batch=size)) for size in (1, 5, 12)]
    vector = flat(network).requires_grad_()
    loss = mean_loss(network.eval(), data(), vector)
    loss.backward()
    for norm in found:
        assert norm.value == pytest.approx(float(vector.grad.norm()))
        assert norm.loss == pytest.approx(float(loss.detach()))
        assert norm.images == 12
        assert norm.reason is None
        assert math.hypot(*norm.by_parameter.values()) == pytest.approx(norm.value)
    assert list(found[0].by_parameter) == [name for name, _ in network.named_parameters()]


def test_the_gradient_at_zero_logits_is_known() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).double()
    nn.init.zeros_(network[1].weight)
    image = torch.ones(2, 1, 4, 4, dtype=torch.float64)
    found = gradient_norm(network, [(image, torch.tensor([0, 0]))])
    assert found.loss == pytest.approx(math.log(2))
    assert found.value == pytest.approx(math.sqrt(2 * 16 * 0.25))


def test_frozen_parameters_are_left_out() -> None:
    network = small_network()
    full = gradient_norm(network, data()).by_parameter
    network[0].requires_grad_(False)
    found = gradient_norm(network, data()).by_parameter
    assert found == pytest.approx({name: full[name] for name in full if name != "0.weight"})
    network.requires_grad_(False)
    for measure in (gradient_norm, top_hessian_eigenvalue):
        with pytest.raises(ValueError, match="no parameter requires a gradient"):
            measure(network, data())


def test_the_top_eigenvalue_is_that_of_the_full_hessian() -> None:
    network = small_network()
    found = top_hessian_eigenvalue(network, iter(data()), tolerance=1e-6, max_iterations=2000)
    hessian = torch.autograd.functional.hessian(
        lambda vector: mean_loss(network.eval(), data(), vector), flat(network)
    )
    assert found.converged
    assert found.value == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-6)


def test_the_top_eigenvalue_of_softmax_regression_is_known() -> None:
    """At zero logits H = (I/k − 11ᵀ/k²) ⊗ xxᵀ for a single input x: λ = ‖x‖²/k."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False)).double()
    nn.init.zeros_(network[1].weight)
    image = torch.full((2, 1, 4, 4), 2.0, dtype=torch.float64)
    found = top_hessian_eigenvalue(network, [(image, torch.tensor([0, 3]))])
    assert found.value == pytest.approx(64 / 4)


def test_the_start_comes_from_the_seed_alone() -> None:
    network = small_network()
    first, other = (top_hessian_eigenvalue(network, data(), seed, 1e-3, 3) for seed in (0, 1))
    torch.rand(5)
    assert top_hessian_eigenvalue(network, data(), 0, 1e-3, 3) == first
    assert other.value != first.value


def test_too_few_iterations_are_told_by_the_flag_and_the_reason() -> None:
    found = top_hessian_eigenvalue(small_network(), data(), max_iterations=1)
    assert not found.converged
    assert found.iterations == 1
    assert found.reason is not None
    assert "no convergence within 1 iterations" in found.reason


@pytest.mark.parametrize(
    ("eigenvalues", "largest"),
    [
        ([3.0, 1.0, -2.0], 3.0),
        ([2.0, 1.0, -3.0], 2.0),
        ([1.0, 0.5, -100.0], 1.0),
        ([3.0, 1.0, -3.0], 3.0),
        ([-1.0, -2.0, -3.0], -1.0),
        ([-3.0, -3.0, -3.0], -3.0),
        ([2.0, 2.0, 1.99], 2.0),
        ([0.0, 0.0, 0.0], 0.0),
    ],
)
def test_the_largest_eigenvalue_is_found_by_sign_not_size(
    eigenvalues: list[float], largest: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    start = torch.randn(3, generator=generator, dtype=torch.float64)
    found = power_iteration(lambda vector: matrix @ vector, start, 1e-4, 5000)
    assert found.converged
    assert found.value == pytest.approx(largest, rel=1e-3)
    assert found.residual <= 1e-4 * abs(found.value)


def test_attention_has_a_second_derivative_here() -> None:
    torch.manual_seed(0)
    network = timm.models.VisionTransformer(
        img_size=4, patch_size=2, in_chans=1, embed_dim=8, depth=1, num_heads=2, num_classes=3
    )
    batches = [(images.float(), labels) for images, labels in data()]
    assert top_hessian_eigenvalue(network, batches).value > 0


def test_the_network_is_left_as_it_was() -> None:
    network = small_network().train()
    network[1].eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        gradient_norm(network, data())
        top_hessian_eigenvalue(network, data(), max_iterations=2)
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_network_that_overflowed_gives_nan_and_the_reason() -> None:
    network = small_network()
    with torch.no_grad():
        network[-1].weight.fill_(math.nan)
    norm, eigenvalue = gradient_norm(network, data()), top_hessian_eigenvalue(network, data())
    assert math.isnan(norm.value)
    assert norm.reason == "a gradient that is not finite"
    assert math.isnan(eigenvalue.value)
    assert not eigenvalue.converged
    assert eigenvalue.reason == "a Hessian-vector product that is not finite"


def test_what_cannot_be_is_refused() -> None:
    for measure in (gradient_norm, top_hessian_eigenvalue):
        with pytest.raises(ValueError, match="found 1"):
            measure(small_network(), data(1))
        with pytest.raises(ValueError, match="found 0"):
            measure(small_network(), [])
        with pytest.raises(ValueError, match="label 3 for a network of 3 classes"):
            measure(small_network(), [(data()[0][0][:2], torch.tensor([0, 3]))])
    with pytest.raises(ValueError, match="must be positive"):
        top_hessian_eigenvalue(small_network(), data(), tolerance=0.0)
