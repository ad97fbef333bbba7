"""K networks of one architecture as one: their weights stacked, their passes one program.

Convolutional networks run as one network of K · C channels: grouped convolutions, batch normalisation of
all channels, and matrix products per group. Layers that work channel by channel need no change, so that
the forward pass of the architecture itself is used. What this does not fit, such as a transformer, runs by
`torch.func.vmap`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

# Of logits, relative to the largest: rounding stays far below, another function far above.
TOLERANCE = 1e-3


def stack(networks: Sequence[nn.Module], inputs: Tensor, channels_last: bool) -> Stacked | None:
    """Return copies of K networks as one, or None for an architecture that cannot be stacked.

    Whether it computes what each network does is tried out on `inputs` [K, b, ...], in evaluation mode.
    Networks that draw random numbers other than by `nn.Dropout` are refused: a run's draws would depend
    on the runs beside it.
    """
    for kind in KINDS:
        try:
            stacked = kind(networks, channels_last).to(inputs.device)
            if _computes_each(stacked, networks, inputs):
                return stacked
        except torch.OutOfMemoryError:
            raise
        # Any network's code runs here on shapes that it was not made for, so that any error may come.
        except Exception:
            continue
    return None


class Stacked(nn.Module):
    """K networks: inputs [K, b, ...] to logits [K, b, classes].

    The tree of modules is that of one network; its parameters and buffers are [K, ...].
    """

    def __init__(self, networks: Sequence[nn.Module], channels_last: bool) -> None:
        super().__init__()
        device = next(networks[0].parameters()).device
        self.generators = [torch.Generator(device) for _ in networks]
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.body = copy.deepcopy(networks[0])
        made: dict[int, Tensor] = {}
        for module, *each in zip(*(one.modules() for one in (self.body, *networks)), strict=True):
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, value in own:
                if id(value) not in made:
                    made[id(value)] = self._rows(value, [getattr(one, name) for one in each])
                setattr(module, name, made[id(value)])

    def _rows(self, value: Tensor, each: Sequence[Tensor]) -> Tensor:
        rows = torch.stack([one.detach() for one in each])
        if rows.ndim == 5 and self.format == torch.channels_last:
            rows = rows.movedim(2, 4).contiguous().movedim(4, 2)
        return nn.Parameter(rows, value.requires_grad) if isinstance(value, nn.Parameter) else rows

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the parameters, under the names that they have in each network."""
        return dict(self.body.named_parameters())

    def state(self) -> dict[str, Tensor]:
        """Return parameters and buffers, under the names that they have in each network."""
        return self.body.state_dict()

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over the values of a state."""
        self.body.load_state_dict(state)

    def seed(self, seeds: Sequence[int]) -> None:
        """Seed the random numbers of each network."""
        for generator, seed in zip(self.generators, seeds, strict=True):
            generator.manual_seed(seed)


class _Grouped(Stacked):
    """Activations are [b, K · channels, ...], network after network."""

    def __init__(self, networks: Sequence[nn.Module], channels_last: bool) -> None:
        super().__init__(networks, channels_last)
        for module in self.body.modules():
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            if own or isinstance(module, nn.Dropout):
                module.__class__ = _LAYERS[type(module)]
            if isinstance(module, _Dropout):
                module.generators, module.format = self.generators, self.format
        # In a row nobody else reads what a convolution gives to its norm.
        for row in (each for each in self.body.modules() if isinstance(each, nn.Sequential)):
            for one, following in pairwise(row):
                if isinstance(one, _Convolution) and isinstance(following, _Norm):
                    one.followed_by, following.taken_over = (following,), True

    def forward(self, inputs: Tensor) -> Tensor:
        joined = inputs.transpose(0, 1).flatten(1, 2)
        if joined.ndim == 4:
            joined = joined.contiguous(memory_format=self.format)
        return self.body(joined).unflatten(1, (len(inputs), -1)).transpose(0, 1)


class _Mapped(Stacked):
    """One network's forward pass, mapped over parameters and buffers; it refuses to draw random numbers."""

    def forward(self, inputs: Tensor) -> Tensor:
        mapped = vmap(lambda state, rows: functional_call(self.body, state, (rows,)))
        # Fused attention has no rule for vmap, which would call it for one network after the other.
        with sdpa_kernel(SDPBackend.MATH):
            return mapped(self.body.state_dict(keep_vars=True), inputs)


class _Norm(nn.BatchNorm2d):
    taken_over = False  # by the convolution before it, in evaluation mode

    def forward(self, maps: Tensor) -> Tensor:
        if self.taken_over and not self.training:
            return maps
        if self.momentum is None:
            raise NotImplementedError("running statistics that are means over all batches")
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        rows = (self.running_mean, self.running_var, self.weight, self.bias)
        mean, variance, weight, bias = (None if row is None else row.flatten() for row in rows)
        options = (self.training or mean is None, self.momentum, self.eps)
        return F.batch_norm(maps, mean, variance, weight, bias, *options)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return what it multiplies each channel with in evaluation mode, and then adds."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight / (self.running_var + self.eps).sqrt()
        return scale, self.bias - self.running_mean * scale


class _Convolution(nn.Conv2d):
    followed_by: tuple[_Norm, ...] = ()

    def forward(self, maps: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        for norm in (each for each in self.followed_by if not each.training):
            scale, shift = norm.scale_and_shift()
            weight = weight * scale[..., None, None, None]
            bias = shift if bias is None else bias * scale + shift
        groups = len(weight) * self.groups
        weight, bias = weight.flatten(0, 1), None if bias is None else bias.flatten()
        return F.conv2d(maps, weight, bias, self.stride, self.padding, self.dilation, groups)


class _Linear(nn.Linear):
    def forward(self, features: Tensor) -> Tensor:
        weight, slots = self.weight, features.unflatten(1, (len(self.weight), -1)).transpose(0, 1)
        if self.bias is not None:
            # As one more weight: the sum over a batch, its gradient, would be rounded by its place.
            weight = torch.cat([weight, self.bias[..., None]], 2)
            slots = F.pad(slots, (0, 1), value=1.0)
        return (slots @ weight.transpose(1, 2)).transpose(0, 1).flatten(1)


class _Dropout(nn.Dropout):
    """On the CPU, each network drops what it would drop alone."""

    generators: list[torch.Generator]
    format: torch.memory_format

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.p:
            return values
        parts = values.detach().chunk(len(self.generators), 1)
        masks = [
            torch.empty_like(
                part, memory_format=self.format if part.ndim == 4 else None
            ).bernoulli_(1 - self.p, generator=generator)
            for part, generator in zip(parts, self.generators, strict=True)
        ]
        return values * (torch.cat(masks, 1) / (1 - self.p))


_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _Convolution,
    nn.BatchNorm2d: _Norm,
    nn.Linear: _Linear,
    nn.Dropout: _Dropout,
}


KINDS: tuple[type[Stacked], ...] = (_Grouped, _Mapped)


def _computes_each(stacked: Stacked, networks: Sequence[nn.Module], inputs: Tensor) -> bool:
    """Return whether outputs are those of each network, and training draws from no global generator."""
    modes = [each.training for each in networks]
    with torch.no_grad():
        expected = torch.stack(
            [each.eval()(row) for each, row in zip(networks, inputs, strict=True)]
        )
        for each, training in zip(networks, modes, strict=True):
            each.train(training)
        found = stacked.eval()(inputs)
        scale = expected[expected.isfinite()].abs().max() if expected.isfinite().any() else 1.0
        close = torch.allclose(found, expected, TOLERANCE, TOLERANCE * float(scale), equal_nan=True)
        before, state = _generator_state(inputs), {k: v.clone() for k, v in stacked.state().items()}
        stacked.seed([0] * len(networks))
        stacked.train()(inputs)
        stacked.load(state)
    return close and torch.equal(before, _generator_state(inputs))


def _generator_state(inputs: Tensor) -> Any:
    return torch.cuda.get_rng_state() if inputs.is_cuda else torch.get_rng_state()
