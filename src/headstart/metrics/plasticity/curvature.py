"""Gradient and top Hessian eigenvalue of the loss at a checkpoint.

The loss is the mean cross-entropy over all given images, without weight decay, of the network in
evaluation mode: batch normalisation uses its running statistics, dropout is off, and no image
depends on another. Parameters are those that require a gradient. The network is left as it was,
`.grad` of its parameters included.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from headstart.metrics.passes import Batches, evaluation_mode, require_images, summed_loss

Vector = Float64[Tensor, " parameters"]
SETTLING = 10  # iterations until a negative dominant eigenvalue shows


class GradientNorm(NamedTuple):
    """‖∇L‖₂ over all parameters and over each; NaN with the reason where not finite."""

    value: float
    by_parameter: dict[str, float]
    loss: float
    images: int
    reason: str | None


class TopEigenvalue(NamedTuple):
    """The largest eigenvalue λ of a symmetric matrix, and how sure it is."""

    value: float
    converged: bool
    residual: float
    """‖Hv − λv‖ of the unit vector v: an eigenvalue lies within this distance of λ."""
    iterations: int
    reason: str | None
    """Why the value is NaN, or did not converge."""


def gradient_norm(network: nn.Module, batches: Batches) -> GradientNorm:
    """Return the norm of the loss gradient over all images, before any step is made.

    Batches may be of any size: gradients are summed in float64 before the norm is taken.

    Raises:
        ValueError: fewer than 2 images, a label without logit, or no parameter to differentiate by.
    """
    parameters = _trainable(network)
    weights = list(parameters.values())
    total = torch.zeros(_size(weights), dtype=torch.float64, device=weights[0].device)
    images, loss = 0, 0.0
    with evaluation_mode(network), torch.enable_grad():
        for inputs, labels in batches:
            part = summed_loss(network, inputs, labels)
            total += _flat(torch.autograd.grad(part, weights, materialize_grads=True))
            loss += float(part.detach())
            images += len(labels)
    require_images(images)
    pieces = (total / images).split([weight.numel() for weight in weights])
    norms = {name: float(piece.norm()) for name, piece in zip(parameters, pieces, strict=True)}
    value = math.hypot(*norms.values())
    if not math.isfinite(value):
        return GradientNorm(math.nan, norms, loss / images, images, "a gradient that is not finite")
    return GradientNorm(value, norms, loss / images, images, None)


def top_hessian_eigenvalue(
    network: nn.Module,
    batches: Batches,
    seed: int = 0,
    tolerance: float = 1e-2,
    max_iterations: int = 100,
) -> TopEigenvalue:
    """Return the largest eigenvalue of the loss Hessian, by `power_iteration` from a seeded start.

    Gradient descent with step size η and no momentum is unstable along its eigenvector above 2/η.
    An iteration costs two backward passes over all images, which are read once and held.

    Raises:
        ValueError: fewer than 2 images, a label without logit, no parameter to differentiate by,
            or a tolerance or number of iterations that is not positive.
    """
    weights = list(_trainable(network).values())
    held = list(batches)
    require_images(sum(len(labels) for _, labels in held))
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(_size(weights), generator=generator, dtype=torch.float64)
    # Fused attention has no second derivative.
    with evaluation_mode(network), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        return power_iteration(
            lambda vector: _hessian_product(network, weights, held, vector),
            start.to(weights[0].device),
            tolerance,
            max_iterations,
        )


def power_iteration(
    product: Callable[[Tensor], Tensor],
    start: Vector,
    tolerance: float = 1e-2,
    max_iterations: int = 100,
) -> TopEigenvalue:
    """Return the largest eigenvalue, by sign, of the symmetric matrix behind v → Hv.

    Converged means ‖Hv − λv‖ ≤ `tolerance` · |λ|, with v of unit length and λ = vᵀHv. Where a
    negative eigenvalue rivals the largest one in size, the iteration starts again with H + ρI,
    ρ = ‖Hv‖, whose dominant eigenvalue is the wanted one.

    Raises:
        ValueError: a tolerance or number of iterations that is not positive.
    """
    if tolerance <= 0 or max_iterations < 1:
        raise ValueError("the tolerance and the number of iterations must be positive")
    vector, shift, settled = start / start.norm(), 0.0, math.inf
    for iteration in range(1, max_iterations + 1):
        image = product(vector)
        value, length = float(vector @ image), float(image.norm())
        residual = float((image - value * vector).norm())
        if not math.isfinite(length):
            reason = "a Hessian-vector product that is not finite"
            return TopEigenvalue(math.nan, False, math.nan, iteration, reason)
        if residual <= tolerance * abs(value) and (value >= 0 or shift > 0):
            return TopEigenvalue(value, True, residual, iteration, None)
        ahead = image + shift * vector
        if iteration % SETTLING == 0:
            if value < 0.9 * length or residual > 0.9 * settled:
                # The wanted direction may have vanished from the vector by now.
                ahead, shift = ahead if shift else start, max(shift, length)
            settled = residual
        vector = ahead / ahead.norm()
    reason = f"no convergence within {max_iterations} iterations: raise them or the tolerance"
    return TopEigenvalue(value, False, residual, iteration, reason)


def _hessian_product(
    network: nn.Module,
    weights: list[nn.Parameter],
    batches: list[tuple[Tensor, Tensor]],
    vector: Tensor,
) -> Tensor:
    """Hv of the mean loss over all batches, by differentiating ⟨∇L, v⟩."""
    pieces = vector.split([weight.numel() for weight in weights])
    directions = [
        piece.view_as(weight).to(weight.dtype)
        for piece, weight in zip(pieces, weights, strict=True)
    ]
    total = torch.zeros_like(vector)
    for inputs, labels in batches:
        loss = summed_loss(network, inputs, labels)
        slopes = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
        along = sum((slope * d).sum() for slope, d in zip(slopes, directions, strict=True))
        assert isinstance(along, Tensor)
        total += _flat(torch.autograd.grad(along, weights, materialize_grads=True))
    return total / sum(len(labels) for _, labels in batches)


def _trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    found = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError("no parameter requires a gradient: call requires_grad_() on the network")
    return found


def _size(weights: list[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])
