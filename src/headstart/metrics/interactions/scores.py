"""Scores: the log-odds of the true class, on complete images and on all 2^n masked ones."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstart.metrics.interactions.masking import MaskedInputs
from headstart.metrics.interactions.transform import check_player_count
from headstart.metrics.passes import full_precision, precise_evaluation_mode

Network = Callable[[Tensor], Tensor]
PROBABILITIES = (
    "these look like probabilities (none negative, each row sums to 1): "
    "give the logits, the network's output before the softmax"
)


def log_odds(
    logits: Float[Tensor, "*batch classes"], labels: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return v = log(p / (1 − p)) = z_{y*} − log Σ_{k≠y*} exp z_k, for p = p(y*|x), from logits z.

    It never leaves the logits, so it stays exact where p rounds to 0 or 1. Raises `ValueError` for
    probabilities, for values that are not finite, for one class, and for labels without a logit.
    """
    if logits.numel() and bool(_like_probabilities(logits)):
        raise ValueError(PROBABILITIES)
    return _log_odds(logits, labels)


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    _check_logits(logits, labels)
    own = labels.unsqueeze(-1)
    others = logits.scatter(-1, own, -torch.inf).logsumexp(-1)
    return logits.gather(-1, own).squeeze(-1) - others


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError(
            "log-odds need at least two classes; a single logit z stands for the pair (0, z)"
        )
    if not logits.numel():
        return
    if not bool(logits.isfinite().all()):
        raise ValueError("the logits hold NaN or infinite values: the network has diverged")
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest < 0 or largest >= classes:
        raise ValueError(
            f"labels run from {smallest} to {largest}, but the network has {classes} outputs: "
            "it was trained on other classes than these images have"
        )


def _like_probabilities(logits: Tensor) -> Tensor:
    """Return whether no number is negative and each row sums to 1; by accident, a few logits may."""
    return (logits >= 0).all() & ((logits.sum(-1) - 1).abs() < 1e-3).all()


def subset_scores(
    network: Network,
    masked_inputs: MaskedInputs,
    labels: Int[Tensor, " samples"],
    players: int,
    chunk_size: int = 256,
    classes: int | None = None,
    masks: Bool[Tensor, "masks players"] | None = None,
) -> Float[Tensor, "samples subsets"]:
    """Return v(x_T) for every sample and all 2^n subsets T of n players of any kind, or for some masks.

    The network maps inputs to logits. It runs in evaluation mode, which is undone afterwards, with
    autocast and TF32 off and without gradients, on `chunk_size` inputs at a time: a matter of
    memory, which changes v by rounding alone (`noise_floor` measures it). `classes`, where given,
    is the number of logits that every network of the comparison must have. Raises `ValueError` for
    weights in less than 32 bits.
    """
    if chunk_size < 1:
        raise ValueError(f"the chunk size is {chunk_size}: choose 1 or more inputs at a time")
    if masks is None:
        check_player_count(players)
    every = torch.arange(2**players) if masks is None else masks
    every, rows, alike = every.to(labels.device), [], []
    with torch.no_grad(), precise_evaluation_mode(network), full_precision(labels.device):
        for samples in torch.arange(len(labels), device=labels.device).split(
            max(1, chunk_size // len(every))
        ):
            scores = []
            for subsets in every.split(chunk_size):
                logits = network(masked_inputs(samples, subsets))
                _check_shape(logits, len(samples) * len(subsets), classes)
                alike.append(_like_probabilities(logits))
                own = labels[samples].repeat_interleave(len(subsets))
                scores.append(_log_odds(logits, own).unflatten(0, (len(samples), len(subsets))))
            rows.append(torch.cat(scores, dim=1))
    if len(labels) and bool(torch.stack(alike).all()):
        raise ValueError(PROBABILITIES)
    return torch.cat(rows) if rows else torch.empty(0, len(every))


def _check_shape(logits: Tensor, expected: int, classes: int | None) -> None:
    if logits.ndim != 2 or len(logits) != expected:
        raise ValueError(
            f"the network returned shape {tuple(logits.shape)} for {expected} inputs: "
            "it must return logits [inputs, classes]"
        )
    if classes is not None and logits.shape[1] != classes:
        raise ValueError(
            f"the network has {logits.shape[1]} classes, the comparison {classes}: "
            "compare networks of the same task"
        )
