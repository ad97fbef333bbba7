"""Transferability scores against brute force: other libraries, refits, numerical optima."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from headstart.metrics.transferability import (
    PENALTIES,
    knn_probe,
    leep,
    logme,
    one_hot,
    ridge_probe,
)


def labelled(count: int, width: int, classes: int, apart: float, seed: int = 0):
    """Return Gaussian features [n, d] whose class means lie `apart`, with labels that all occur."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    means = apart * torch.randn(classes, width, generator=generator)
    return means[labels] + torch.randn(count, width, generator=generator), labels


def largest_evidence(features: np.ndarray, target: np.ndarray) -> float:
    """Return the largest log density per image of y ~ N(0, 1/β + F Fᵀ/α), found by a simplex."""
    gram, eye = features @ features.T, np.eye(len(target))

    def minus(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = eye / beta + gram / alpha
        return -float(stats.multivariate_normal(np.zeros(len(target)), covariance).logpdf(target))

    starts = [(0.0, 0.0), (3.0, 2.0), (5.0, 3.0)]
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
    found = [
        optimize.minimize(minus, start, method="Nelder-Mead", options=options) for start in starts
    ]
    return -min(float(each.fun) for each in found) / len(target)


@pytest.mark.parametrize(("count", "width"), [(40, 6), (12, 30)])
def test_logme_is_the_largest_evidence_that_a_numerical_search_finds(
    count: int, width: int
) -> None:
    features, labels = labelled(count, width, 3, 0.7)
    expected = [
        largest_evidence(features.double().numpy(), target.numpy()) for target in one_hot(labels).T
    ]
    assert logme(features, labels) == pytest.approx(float(np.mean(expected)), abs=1e-5)


def test_logme_ranks_features_that_tell_classes_apart_above_noise_and_ignores_rotations() -> None:
    features, labels = labelled(60, 8, 3, 1.5)
    noise, _ = labelled(60, 8, 3, 0.0, seed=1)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2)))[0]
    assert logme(features, labels) > logme(noise, labels) + 0.1
    assert logme(features @ rotation, labels) == pytest.approx(logme(features, labels), abs=1e-5)


def test_the_ridge_probe_is_the_refit_with_the_penalty_of_the_smallest_leave_one_out_error() -> (
    None
):
    features, labels = labelled(24, 5, 3, 0.8)
    held, held_labels = labelled(90, 5, 3, 0.8)
    targets, scale = one_hot(labels).numpy(), len(labels)
    centred = features.double() - features.double().mean(0)
    unit = float(centred.square().sum()) / centred.numel() * scale

    def left_out(penalty: float) -> float:
        errors = []
        for row in range(len(labels)):
            rest = np.arange(len(labels)) != row
            fit = Ridge(alpha=penalty).fit(features.numpy()[rest], targets[rest])
            errors.append(np.square(targets[row] - fit.predict(features.numpy()[[row]])[0]).mean())
        return float(np.mean(errors))

    best = min((float(each) * unit for each in PENALTIES), key=left_out)
    fitted = Ridge(alpha=best).fit(features.double().numpy(), targets)
    right = fitted.predict(held.double().numpy()).argmax(1) == held_labels.numpy()
    assert ridge_probe(features, labels, held, held_labels) == pytest.approx(float(right.mean()))


def test_the_neighbour_probe_agrees_with_scikit_learn() -> None:
    features, labels = labelled(30, 6, 3, 0.8)
    held, held_labels = labelled(60, 6, 3, 0.8, seed=0)
    vote = KNeighborsClassifier(
        5, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(features.double().numpy(), labels.numpy())
    expected = vote.score(held.double().numpy(), held_labels.numpy())
    assert knn_probe(features, labels, held, held_labels) == pytest.approx(expected)


def test_with_one_image_of_a_class_the_neighbour_probe_takes_the_nearest() -> None:
    features = torch.eye(6)
    held = features + 0.1 * torch.ones(6, 6)
    assert knn_probe(features, torch.arange(6), held, torch.arange(6)) == 1.0


def test_leep_is_zero_for_a_source_head_that_knows_the_classes_and_minus_log_k_for_one_that_does_not() -> (
    None
):
    labels = torch.arange(12) % 4
    assert leep(torch.eye(4)[labels], labels) == pytest.approx(0.0)
    assert leep(torch.full((12, 7), 1 / 7), labels) == pytest.approx(-math.log(4))


def test_leep_by_hand() -> None:
    chances = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    labels = torch.tensor([0, 0, 1])
    first, second = (0.9 + 0.6) / 1.7, (0.1 + 0.4) / 1.3
    expected = [0.9 * first + 0.1 * second, 0.6 * first + 0.4 * second]
    expected.append(1 - (0.2 * first + 0.8 * second))
    assert leep(chances, labels) == pytest.approx(float(np.log(expected).mean()))


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="labels of 1 class"):
        logme(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64))
