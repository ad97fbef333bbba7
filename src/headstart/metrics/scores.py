"""Scores: the log-odds of the true class, on complete images and on all 2^n masked ones."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstart.metrics.interactions import check_player_count
from headstart.metrics.masking import MaskedInputs, pixel_inputs
from headstart.metrics.precision import evaluation_mode, full_precision

Network = Callable[[Tensor], Tensor]


def log_odds(
    logits: Float[Tensor, "*batch classes"], labels: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return v = log(p(y*|x) / (1 − p(y*|x))) = z_{y*} − log Σ_{k≠y*} exp z_k, from logits z and
    labels y*.

    It never leaves the logits, so it stays exact where p rounds to 0 or 1. Raises `ValueError` for
    probabilities, for values that are not finite, for one class, and for labels without a logit.
    """
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
    sums = logits.sum(-1)
    if bool((logits >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
        raise ValueError(
            "these look like probabilities (none negative, each row sums to 1): "
            "give the logits, the network's output before the softmax"
        )


def correct_under_all(
    logits: Sequence[Float[Tensor, "images classes"]], labels: Int[Tensor, " images"]
) -> Bool[Tensor, " images"]:
    """Return which images every one of the networks classifies rightly.

    Raises `ValueError` where the networks have different numbers of classes, and where no image is
    left.
    """
    classes = [table.shape[-1] for table in logits]
    if len(set(classes)) != 1:
        raise ValueError(f"the networks have {classes} classes: compare networks of the same task")
    right = torch.stack([table.argmax(-1) == labels for table in logits])
    correct = right.all(0)
    if not bool(correct.any()):
        raise ValueError(
            f"all {len(labels)} images are misclassified by at least one network "
            f"(right in each: {right.sum(1).tolist()}): train longer, or evaluate on all images"
        )
    return correct


def matching_temperature(
    logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], target: float
) -> float:
    """Return T > 0 at which the mean log-odds of the logits z/T equals `target`, that of another
    network.

    Give only images that the network classifies rightly (`correct_under_all`); there the mean falls
    from +∞ to −log(classes − 1) as T grows, so T exists and is unique, or `ValueError` is raised.
    """
    if bool((logits.argmax(-1) != labels).any()):
        raise ValueError(
            "some images are misclassified: match temperatures on rightly classified ones"
        )
    table = logits.to(torch.float64)
    low, high = -20.0, 20.0  # of log T
    for _ in range(80):
        middle = (low + high) / 2
        if float(log_odds(table * torch.tensor(-middle).exp(), labels).mean()) > target:
            low = middle
        else:
            high = middle
    if min(middle + 20, 20 - middle) < 1e-6:
        raise ValueError(
            f"no temperature gives a mean log-odds of {target}: match to a confident network"
        )
    return float(torch.tensor(middle, dtype=torch.float64).exp())


def masked_scores(
    network: Network,
    images: Float[Tensor, "images channels height width"],
    labels: Int[Tensor, " images"],
    players: Bool[Tensor, "*images_or_none players height width"],
    baseline: Float[Tensor, "..."],
    chunk_size: int = 256,
    classes: int | None = None,
) -> Float[Tensor, "images subsets"]:
    """Return v(x_T) for every image and all 2^n subsets T of its players; entry 0 is v(x_∅), the
    last v(x).

    Players and baseline are described at `pixel_inputs`, the rest at `subset_scores`.
    """
    masked_inputs = pixel_inputs(images, players, baseline)
    return subset_scores(network, masked_inputs, labels, players.shape[-3], chunk_size, classes)


def subset_scores(
    network: Network,
    masked_inputs: MaskedInputs,
    labels: Int[Tensor, " samples"],
    players: int,
    chunk_size: int = 256,
    classes: int | None = None,
) -> Float[Tensor, "samples subsets"]:
    """Return v(x_T) for every sample and all 2^n subsets T of n players of any kind.

    The network maps inputs to logits. It runs in evaluation mode, which is undone afterwards, with
    autocast and TF32 off and without gradients, on `chunk_size` inputs at a time: a matter of
    memory, which changes v by rounding alone (`noise_floor` measures it). `classes`, where given,
    is the number of logits that every network of the comparison must have. Raises `ValueError` for
    weights in less than 32 bits.
    """
    check_player_count(players)
    if chunk_size < 1:
        raise ValueError(f"the chunk size is {chunk_size}: choose 1 or more inputs at a time")
    rows = []
    with torch.no_grad(), evaluation_mode(network), full_precision(labels.device):
        for samples in torch.arange(len(labels)).split(max(1, chunk_size >> players)):
            scores = [
                _scores_of(network, masked_inputs, samples, subsets, labels, classes)
                for subsets in torch.arange(2**players).split(chunk_size)
            ]
            rows.append(torch.cat(scores, dim=1))
    return torch.cat(rows) if rows else torch.empty(0, 2**players)


def _scores_of(
    network: Network,
    masked_inputs: MaskedInputs,
    samples: Tensor,
    subsets: Tensor,
    labels: Tensor,
    classes: int | None,
) -> Tensor:
    samples, subsets = samples.to(labels.device), subsets.to(labels.device)
    logits = network(masked_inputs(samples, subsets))
    expected = len(samples) * len(subsets)
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
    own = labels[samples].repeat_interleave(len(subsets))
    return log_odds(logits, own).unflatten(0, (len(samples), len(subsets)))
