"""Networks as functions from images to the outputs of their blocks."""

import copy
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


def late_blocks_replaced(network: nn.Module, other: nn.Module, first: int) -> nn.Module:
    """A copy of a network whose blocks from `first` on are those of another of the same kind.

    What comes before the first block, and after the last, stays the network's own.

    Raises:
        TypeError: a network has no numbered blocks.
        ValueError: different numbers of blocks, or a block that does not exist.
    """
    blocks = number_of_blocks(network)
    if number_of_blocks(other) != blocks or not 0 <= first < blocks:
        raise ValueError(
            f"blocks {first} to {blocks - 1} of {number_of_blocks(other)} cannot take the place "
            f"of those of a network with {blocks}: give two networks of the same kind"
        )
    result = copy.deepcopy(network)
    into, source = _numbered(result), _numbered(other)
    for block in range(first, blocks):
        into[block] = copy.deepcopy(source[block])
    return result


def _numbered(network: nn.Module) -> nn.Sequential | nn.ModuleList:
    found = network if isinstance(network, nn.Sequential) else network.blocks
    return cast(nn.Sequential | nn.ModuleList, found)


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
