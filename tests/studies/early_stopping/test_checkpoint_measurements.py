"""Measurements of hand-made networks have the values that their definitions give."""

import math
from pathlib import Path

import pytest
import torch
from tiny_study import STUDY, make_sources
from torch import nn

from headstart.artifacts import store
from headstart.artifacts.files import read_table
from headstart.networks.network import Network
from headstart.params.recipe import Pretrain
from headstart.plan import Plan
from headstart.registry import Params
from headstart.studies.early_stopping import plasticity
from headstart.studies.early_stopping.checkpoint_measurements import (
    Measurement,
    measure_features,
    measure_random_labels,
    measure_source,
    measure_start,
    measure_weights,
)
from headstart.studies.early_stopping.params import RandomLabels
from headstart.studies.early_stopping.plasticity import rate_at

CLASSES = 3


def linear_network(weights: torch.Tensor, activation: nn.Module) -> Network:
    """Return activation(W x) with a head of zeros."""
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    layer.weight.data = weights
    head = nn.Linear(weights.shape[0], CLASSES)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return Network(nn.Sequential(nn.Flatten(), layer, activation), head)


def unit_images(size: int) -> torch.Tensor:
    """Return one image for each pixel, in which it alone is white."""
    return torch.eye(size).view(size, 1, 1, size)


def by_metric(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {measurement.metric: measurement for measurement in measurements}


def test_orthonormal_features_have_full_rank_and_silent_rows_are_dormant() -> None:
    weights = torch.eye(8)
    weights[6:] = -1.0  # two of eight units never fire
    batches = [(unit_images(8), torch.zeros(8, dtype=torch.long))]
    measurements = by_metric(measure_features(linear_network(weights, nn.ReLU()), batches, 0.025))
    assert measurements["effective_rank"].value == pytest.approx(6)
    assert measurements["stable_rank"].value == pytest.approx(6)
    assert measurements["rank99"].value == 6
    assert measurements["spectrum_ratio"].value == pytest.approx(1)
    assert measurements["lop_dormant_fraction"].value == 2 / 8
    assert measurements["redo_dormant_fraction"].value == 2 / 8


def test_measurements_do_not_depend_on_how_images_are_batched() -> None:
    network = linear_network(torch.randn(5, 6), nn.ReLU())
    images, labels = torch.randn(12, 1, 2, 3), torch.arange(12) % CLASSES
    whole = [(images, labels)]
    parts = list(zip(images.split(5), labels.split(5), strict=True))
    for one, other in zip(
        measure_features(network, whole, 0.1) + measure_start(network, whole, False),
        measure_features(network, parts, 0.1) + measure_start(network, parts, False),
        strict=True,
    ):
        assert one.value == pytest.approx(other.value, rel=1e-5)


def test_a_network_without_relu_and_gelu_has_no_dormant_units_but_a_reason() -> None:
    batches = [(unit_images(4), torch.zeros(4, dtype=torch.long))]
    measurements = by_metric(
        measure_features(linear_network(torch.eye(4), nn.Tanh()), batches, 0.025)
    )
    for metric in ("lop_dormant_fraction", "redo_dormant_fraction"):
        assert math.isnan(measurements[metric].value)
        assert "neither ReLU nor GELU" in measurements[metric].reason
    assert measurements["effective_rank"].reason == ""


def test_weights_of_a_normalised_convolution() -> None:
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.Flatten())
    nn.init.constant_(backbone[0].weight, -0.5)
    measurements = by_metric(measure_weights(backbone, torch.randn(2, 1, 4, 4), 0.1))
    norm = 18 * 0.25
    assert measurements["squared_weight_norm"].value == pytest.approx(norm)
    assert measurements["effective_learning_rate"].value == pytest.approx(0.1 / norm)
    # 18 weights of 0.5, 2 scales of 1, 2 shifts of 0.
    assert measurements["mean_absolute_weight"].value == pytest.approx((18 * 0.5 + 2) / 22)


def test_without_normalised_convolutions_there_is_no_effective_rate_but_a_reason() -> None:
    network = linear_network(torch.eye(4), nn.ReLU())
    measurements = by_metric(measure_weights(network.backbone, unit_images(4)[:2], 0.1))
    assert math.isnan(measurements["effective_learning_rate"].value)
    assert "batch normalisation" in measurements["effective_learning_rate"].reason


def test_the_gradient_under_a_head_of_zeros() -> None:
    # All probabilities are 1/3: ∂L/∂b = p − y, ∂L/∂W = (p − y) x̄ᵀ, and no gradient passes the head.
    network = linear_network(torch.eye(4), nn.ReLU())
    batches = [(torch.ones(6, 1, 2, 2), torch.zeros(6, dtype=torch.long))]
    (gradient,) = measure_start(network, batches, hessian=False)
    assert gradient.value == pytest.approx(math.sqrt(6 / 9 * (1 + 4)), rel=1e-5)


def test_the_hessian_is_read_on_request() -> None:
    network = linear_network(torch.eye(4), nn.ReLU())
    batches = [(torch.rand(6, 1, 2, 2), torch.arange(6) % CLASSES)]
    assert "top_hessian_eigenvalue" in by_metric(measure_start(network, batches, hessian=True))


def test_stale_running_averages_hide_a_perfect_network() -> None:
    """Two classes lie at 10 and 12; with mean 0 and variance 1 both look like the second class."""
    backbone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1))
    head = nn.Linear(1, 2)
    head.weight.data, head.bias.data = torch.tensor([[-1.0], [1.0]]), torch.zeros(2)
    network = Network(backbone, head)
    images, labels = torch.tensor([10.0, 12.0] * 8).view(16, 1, 1, 1), torch.arange(16) % 2
    measurements = by_metric(measure_source(network, [(images, labels)], [(images, labels)]))
    assert measurements["source_accuracy"].value == 0.5
    assert measurements["source_accuracy_reestimated"].value == 1
    assert torch.equal(backbone[1].running_mean, torch.zeros(1))


def test_a_network_without_running_averages_has_nothing_to_estimate_anew() -> None:
    batches = [(unit_images(4), torch.zeros(4, dtype=torch.long))]
    network = linear_network(torch.eye(4), nn.ReLU())
    measurements = by_metric(measure_source(network, batches, batches))
    assert measurements["source_accuracy"].value == 1
    assert math.isnan(measurements["source_accuracy_reestimated"].value)
    assert "no batch normalisation" in measurements["source_accuracy_reestimated"].reason


def test_every_checkpoint_of_a_study_is_measured_on_its_source_and_disturbed(project: Path) -> None:
    part = {**STUDY["pretrain"]["convnet"], "seeds": [0]}
    study = {**STUDY, "plasticity": {"weight_noise": 0.5}, "pretrain": {"convnet": part}}
    of = Plan(Params.model_validate(study))
    make_sources(of)
    (job,) = of.jobs("plasticity")
    table = read_table(store.run(job, plasticity.make).path / "plasticity.parquet")
    history = read_table(of.jobs("pretrain")[0].path / "history.parquet")
    held = history.set_index("epoch")["validation_accuracy"]
    stored = table[table["metric"] == "source_accuracy"].set_index("source_epoch")["value"]
    assert len(stored) > 4
    assert (stored == held[stored.index]).all()
    anew = table[table["metric"] == "source_accuracy_reestimated"]["value"]
    assert anew.between(0, 1).all()
    assert set(anew) != set(stored)
    noise = table[table["metric"] == "noise_loss_increase"]
    assert set(noise["source_epoch"]) == set(stored.index)
    assert noise["value"].notna().all()


def test_random_labels_are_fitted_and_the_network_stays_as_it_was() -> None:
    network = linear_network(torch.eye(16), nn.ReLU())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    options = RandomLabels(images=16, batch_size=16, steps=50, learning_rate=0.1)
    measurements = by_metric(measure_random_labels(network, unit_images(16), options, seed=0))
    assert measurements["random_label_loss"].value < 0.1
    assert measurements["random_label_accuracy"].value == 1
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_rate_of_an_epoch_is_that_in_its_middle() -> None:
    common = {"sources": ["a"], "seeds": [0], "epochs": 10, "learning_rate": 1.0}
    step = Pretrain.model_validate({**common, "schedule": {"name": "step", "drops": [5]}})
    assert [rate_at(step, epoch) for epoch in (0, 1, 5, 6, 10)] == [1, 1, 1, 0.1, 0.1]
    cosine = Pretrain.model_validate({**common, "schedule": {"name": "cosine"}})
    assert rate_at(cosine, 10) == pytest.approx((1 + math.cos(0.95 * math.pi)) / 2)
