"""Transferability scores: how good the features of a checkpoint are for a target, without training on it.

All read features [n, d] of labelled target images, or the source head's probabilities; higher is better.
None of them trains the backbone, so that none can see whether it still can be trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Features = Float[Tensor, "n d"]
Labels = Int64[Tensor, " n"]

EVIDENCE_STEPS = 200
EVIDENCE_TOLERANCE = 1e-6
PENALTIES = torch.logspace(-4, 4, 17, dtype=torch.float64)
"""Of the ridge probe, relative to the mean square of the features."""
NEIGHBOURS = 5
TEMPERATURE = 0.07


def logme(features: Features, labels: Labels) -> float:
    """Return the log of the maximum evidence, in nats per image, its mean over classes.

    Of each class the indicator y is modelled as N(y | F w, 1/β) with w ~ N(0, 1/α); the evidence
    p(y | F, α, β) is maximised over α and β by MacKay's fixed point (You et al. 2021, "LogME", eq. 2 and
    algorithm 1). Its value per image grows without bound where features tell classes apart exactly.

    Raises:
        ValueError: fewer than two classes or images.
    """
    targets = one_hot(labels)
    left, singular, _ = torch.linalg.svd(features.double(), full_matrices=False)
    squares, count, width = singular.square(), len(labels), features.shape[1]
    projected = (left.T @ targets).square()
    outside = (targets.square().sum(0) - projected.sum(0)).clamp_min(0.0)
    tiny = torch.finfo(torch.float64).tiny
    alpha = beta = targets.new_ones(targets.shape[1])
    squares = squares[:, None]
    for _ in range(EVIDENCE_STEPS):
        ratio = alpha / beta
        share = squares / (squares + ratio)
        fitted = share.sum(0)
        weights = (share * projected / (squares + ratio)).sum(0)
        residual = ((1 - share).square() * projected).sum(0) + outside
        alpha, beta = fitted / (weights + tiny), (count - fitted) / (residual + tiny)
        if ((alpha / beta - ratio).abs() <= EVIDENCE_TOLERANCE * ratio).all():
            break
    determinant = (alpha + beta * squares).log().sum(0) + (width - len(squares)) * alpha.log()
    gaussian = count * (beta / (2 * torch.pi)).log() + width * alpha.log() - determinant
    return float((gaussian - beta * residual - alpha * weights).mean() / (2 * count))


def ridge_probe(
    features: Features, labels: Labels, held_features: Features, held_labels: Labels
) -> float:
    """Return the accuracy on held-out images of ridge regression on the indicators of classes.

    Features are centred; the penalty has the smallest squared leave-one-out error on the training images,
    in closed form (Hastie et al. 2009, eq. 7.64).
    """
    targets, held = one_hot(labels), held_features.double()
    mean, level = features.double().mean(0), targets.mean(0)
    left, singular, right = torch.linalg.svd(features.double() - mean, full_matrices=False)
    projected = left.T @ (targets - level)
    scale = singular.square().sum() / features.numel() + torch.finfo(torch.float64).tiny

    def error(penalty: Tensor) -> Tensor:
        shrunk = singular.square() / (singular.square() + penalty * scale * len(labels))
        leverage = left.square() @ shrunk + 1 / len(labels)
        residual = targets - level - left @ (shrunk[:, None] * projected)
        return (residual / (1 - leverage).clamp_min(1e-9)[:, None]).square().mean()

    penalty = min(PENALTIES, key=lambda each: float(error(each))) * scale * len(labels)
    weights = right.T @ ((singular / (singular.square() + penalty))[:, None] * projected)
    return _accuracy((held - mean) @ weights + level, labels, held_labels)


def knn_probe(
    features: Features, labels: Labels, held_features: Features, held_labels: Labels
) -> float:
    """Return the accuracy on held-out images of a vote of the 5 nearest neighbours by cosine.

    A neighbour of similarity s has the weight exp(s / 0.07) (Wu et al. 2018, section 3.4).
    """
    nearest = F.normalize(held_features.double()) @ F.normalize(features.double()).T
    similarities, rows = nearest.topk(min(NEIGHBOURS, len(labels)), dim=1)
    votes = one_hot(labels)[rows] * (similarities / TEMPERATURE).exp()[..., None]
    return _accuracy(votes.sum(1), labels, held_labels)


def leep(probabilities: Float[Tensor, "n z"], labels: Labels) -> float:
    """Return the mean log-likelihood of labels under the source head's empirical predictor, in nats.

    `probabilities` are those of the source classes z; a target image has the label y with probability
    Σ_z P(y | z) p(z | x), where P(y | z) is counted on these images (Nguyen et al. 2020, "LEEP", eq. 2).
    """
    chances, targets = probabilities.double(), one_hot(labels)
    joint = targets.T @ chances
    conditional = joint / joint.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
    return float(((chances @ conditional.T) * targets).sum(1).log().mean())


def one_hot(labels: Labels) -> Float[Tensor, "n classes"]:
    """Return the indicators of the classes that occur, in float64.

    Raises:
        ValueError: fewer than two classes.
    """
    classes = labels.unique()
    if len(classes) < 2:
        raise ValueError(f"labels of {len(classes)} class; a score compares two or more")
    return (labels[:, None] == classes).double()


def _accuracy(scores: Tensor, labels: Labels, held_labels: Labels) -> float:
    return float((labels.unique()[scores.argmax(1)] == held_labels).double().mean())
