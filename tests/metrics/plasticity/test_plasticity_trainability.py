"""Fitting random labels from a checkpoint."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.metrics.plasticity.random_labels import Method, random_label_probe
from headstart.networks.convnet import ConvNet
from headstart.networks.network import Network

METHODS = pytest.mark.parametrize("optimizer", ["sgd", "adam"])


def pictures(count: int = 64) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def perceptron(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, 4)
    )


@METHODS
def test_the_given_network_and_the_global_generator_stay_as_they_are(optimizer: Method) -> None:
    torch.manual_seed(0)
    network = Network(ConvNet(3, 4), nn.Linear(16, 4)).eval()
    network.head.train()
    network.head.weight.grad = torch.ones(4, 16)
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    random_label_probe(network, pictures(), 5, 0.1, optimizer, 16)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(network.head.weight.grad, torch.ones(4, 16))
    assert network.backbone.stage1.block1.convolution.weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_one_step_of_sgd_is_the_step_along_the_gradient() -> None:
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), pictures(6)
    found = random_label_probe(network, images, 1, 0.01, seed=5)
    labels = torch.randint(3, (6,), generator=torch.Generator().manual_seed(5))
    before = F.cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(before, list(network.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            weight -= 0.01 * gradient
        logits = network(images)
    assert found.initial_loss == pytest.approx(float(before.detach()))
    assert found.loss == pytest.approx(float(F.cross_entropy(logits, labels)))
    assert found.accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


@METHODS
def test_a_network_with_more_weights_than_images_fits_random_labels(optimizer: Method) -> None:
    rate = 0.1 if optimizer == "sgd" else 1e-3
    found = random_label_probe(perceptron(), pictures(), 150, rate, optimizer, 16)
    assert found.accuracy == 1
    assert found.loss < 0.1 < found.initial_loss
    assert (found.classes, found.images, found.steps, found.reason) == (4, 64, 150, None)


def test_a_network_of_dead_units_stays_near_chance() -> None:
    network = perceptron()
    with torch.no_grad():
        network[1].bias.fill_(-1000.0)
    found = random_label_probe(network, pictures(), 150, 0.1, batch_size=16)
    assert abs(found.loss - math.log(4)) < 0.1


def test_labels_and_order_come_from_the_seed_alone_also_with_dropout() -> None:
    network = perceptron(0.5)
    first = random_label_probe(network, pictures(), 10, 0.1, batch_size=16, seed=3)
    torch.rand(7)
    assert random_label_probe(network, pictures(), 10, 0.1, batch_size=16, seed=3) == first
    other = random_label_probe(network, pictures(), 10, 0.1, batch_size=16, seed=4)
    assert other.loss != first.loss


def test_without_steps_the_loss_is_the_initial_one() -> None:
    found = random_label_probe(perceptron(0.5), pictures(), 0, 0.1)
    assert found.loss == found.initial_loss
    assert found.steps == 0


@pytest.mark.parametrize("count", [2, 3, 17, 33])
def test_no_batch_has_a_single_image_whatever_their_number(count: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    assert random_label_probe(network, pictures(count), 40, 0.1, batch_size=2).reason is None


def test_frozen_parameters_are_not_trained() -> None:
    network = perceptron()
    network.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        random_label_probe(network, pictures(), 5, 0.1)
    network[4].bias.requires_grad_()
    found = random_label_probe(network, pictures(), 100, 0.1)
    assert found.accuracy < 0.6


def test_training_that_diverges_gives_nan_and_the_reason() -> None:
    found = random_label_probe(perceptron(), pictures(), 50, 1e20)
    assert math.isnan(found.loss)
    assert math.isnan(found.accuracy)
    assert found.reason == f"the loss is not finite after {found.steps} steps"
    assert 0 < found.steps < 50


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images are needed, found 1"):
        random_label_probe(perceptron(), pictures(1), 5, 0.1)
    for steps, rate, batch in ((-1, 0.1, 8), (5, 0.0, 8), (5, 0.1, 1)):
        with pytest.raises(ValueError, match="zero or more steps"):
            random_label_probe(perceptron(), pictures(), steps, rate, batch_size=batch)


def test_steps_of_adam_are_those_of_torch() -> None:
    network, images = perceptron(), pictures(8)
    found = random_label_probe(network, images, 3, 0.01, "adam", batch_size=8, seed=5)
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(4, (8,), generator=generator)
    adam = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(3):
        order = torch.randperm(8, generator=generator)
        adam.zero_grad()
        F.cross_entropy(network(images[order]), labels[order]).backward()
        adam.step()
    assert found.loss == pytest.approx(float(F.cross_entropy(network(images), labels).detach()))
