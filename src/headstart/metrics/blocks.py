"""Networks as functions from images to the outputs of their blocks."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn


def number_of_blocks(network: nn.Module) -> int:
    """How many blocks `truncated` and `every_block` can address.

    Raises:
        TypeError: the network has no numbered blocks.
    """
    if isinstance(network, nn.Sequential):
        return len(network)
    blocks = getattr(network, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not hasattr(
        network, "forward_intermediates"
    ):
        raise TypeError(
            f"{type(network).__name__} has no blocks: give a vision transformer of timm or an "
            "nn.Sequential, or pass your own function from images to features"
        )
    return len(blocks)


def truncated(network: nn.Module, block: int) -> Callable[[Tensor], Tensor]:
    """The function from images to the output of one block, which evaluates no later block.

    For vision transformers of timm: all tokens, class token first, after the block's second
    residual sum, without the final norm. For an `nn.Sequential`: its child of that number.

    Raises:
        TypeError: the network has no numbered blocks.
        ValueError: a block that does not exist, or a network in training mode.
    """
    blocks = number_of_blocks(network)
    if not 0 <= block < blocks:
        raise ValueError(f"no block {block}: the network has blocks 0 to {blocks - 1}")
    _require_evaluation(network)
    if isinstance(network, nn.Sequential):
        return network[: block + 1]
    return lambda images: _tokens(network, [block], images)[0]


def every_block(network: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    """The function from images to the outputs of all blocks, in one forward pass.

    Raises:
        TypeError: the network has no numbered blocks.
        ValueError: a network in training mode.
    """
    blocks = number_of_blocks(network)
    _require_evaluation(network)
    if isinstance(network, nn.Sequential):
        return lambda images: _outputs(network, images)
    return lambda images: _tokens(network, list(range(blocks)), images)


def _require_evaluation(network: nn.Module) -> None:
    if network.training:
        raise ValueError("the network is in training mode, where images interact: call eval()")


def _outputs(network: nn.Sequential, images: Tensor) -> list[Tensor]:
    outputs = [images]
    for child in network:
        outputs.append(child(outputs[-1]))
    return outputs[1:]


def _tokens(network: nn.Module, blocks: list[int], images: Tensor) -> list[Tensor]:
    forward = cast(Callable[..., list[tuple[Tensor, Tensor]]], network.forward_intermediates)
    pairs = forward(
        images,
        indices=blocks,
        return_prefix_tokens=True,
        stop_early=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return [torch.cat([prefix, patches], dim=1) for patches, prefix in pairs]
