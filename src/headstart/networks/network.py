"""What every network is here: a backbone from images to features, made of blocks, and a linear head on it."""

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from torch import Tensor, nn

Tokens = Literal["class", "mean", "all"]
"""What is read of a block: its class token, the mean over patches (of maps: over places), or all of it."""


class NetworkError(ValueError):
    """A network that cannot be built; one line names the key or file, the value and how to fix it."""


class Network(nn.Module):
    """A backbone, images [n, c, h, w] to features [n, d], and a head, to logits [n, classes].

    The keys of its state dict begin with `backbone.` and `head.`.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def feature_dimension(self) -> int:
        """Return d."""
        return self.head.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, classes]."""
        return self.head(self.backbone(images))

    def features(self, images: Tensor) -> Tensor:
        """Return what the head sees, [n, d]."""
        return self.backbone(images)


def block_names(network: nn.Module) -> tuple[str, ...]:
    """Return the blocks of a backbone from input to output, as names of its submodules.

    They are those that it states in an attribute `block_names`; else the `blocks` of a transformer, or
    the children of an `nn.Sequential`.

    Raises:
        TypeError: the network has no such blocks.
    """
    if stated := getattr(network, "block_names", None):
        return tuple(stated)
    blocks = getattr(network, "blocks", None)
    if isinstance(blocks, nn.Sequential | nn.ModuleList):
        return tuple(f"blocks.{index}" for index in range(len(blocks)))
    if isinstance(network, nn.Sequential):
        return tuple(str(name) for name in network._modules)
    raise TypeError(
        f"{type(network).__name__} has no blocks: name its submodules in an attribute `block_names`, "
        "or give a vision transformer of timm or an nn.Sequential"
    )


def number_of_blocks(network: nn.Module) -> int:
    """Return how many blocks `truncated` and `every_block` can address.

    Raises:
        TypeError: the network has no blocks.
    """
    return len(block_names(network))


def truncated(network: nn.Module, block: int) -> Callable[[Tensor], Tensor]:
    """Return the function from images to the output of one block, which evaluates no later block.

    Convolutional blocks give maps [n, channels, height, width], transformer blocks tokens
    [n, tokens, width], class token included and before the final norm.

    Raises:
        TypeError: the network has no blocks.
        ValueError: a block that does not exist, or a network in training mode.
    """
    names = block_names(network)
    if not 0 <= block < len(names):
        raise ValueError(f"no block {block}: the network has blocks 0 to {len(names) - 1}")
    _require_evaluation(network)
    return lambda images: _outputs(network, names[block : block + 1], images)[0]


def every_block(network: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    """Return the function from images to the outputs of all blocks, in one forward pass.

    Raises:
        TypeError: the network has no blocks.
        ValueError: a network in training mode.
    """
    names = block_names(network)
    _require_evaluation(network)
    return lambda images: _outputs(network, names, images)


def read_tokens(network: nn.Module, output: Tensor, tokens: Tokens) -> Tensor:
    """Return what is read of the output of a block: a vector per image, or all of it.

    Raises:
        ValueError: the block passes no class token on.
    """
    if tokens == "all" or output.ndim == 2:
        return output
    patches = getattr(getattr(network, "patch_embed", None), "num_patches", None)
    before = 0 if output.ndim == 4 or patches is None else max(0, output.shape[1] - patches)
    if tokens == "mean":
        if output.ndim == 4 and str(getattr(network, "output_fmt", "")).endswith("NHWC"):
            return output.mean((1, 2))
        return output.mean((2, 3)) if output.ndim == 4 else output[:, before:].mean(1)
    if not before or getattr(network, "cls_token", None) is None:
        raise ValueError(
            f"the blocks of {type(network).__name__} pass no class token on; read the mean, or all"
        )
    return output[:, 0]


def late_blocks_replaced(network: nn.Module, other: nn.Module, first: int) -> nn.Module:
    """Return a copy of a network whose blocks from `first` on are those of another of the same kind.

    What comes before the first block, and after the last, stays the network's own.

    Raises:
        TypeError: a network has no blocks.
        ValueError: different numbers of blocks, or a block that does not exist.
    """
    names, others = block_names(network), block_names(other)
    if len(others) != len(names) or not 0 <= first < len(names):
        raise ValueError(
            f"blocks {first} to {len(names) - 1} of {len(others)} cannot take the place "
            f"of those of a network with {len(names)}: give two networks of the same kind"
        )
    result = copy.deepcopy(network)
    for name, source in zip(names[first:], others[first:], strict=True):
        parent, _, child = name.rpartition(".")
        result.get_submodule(parent)._modules[child] = copy.deepcopy(other.get_submodule(source))
    return result


class _LastBlockReached(Exception):  # noqa: N818 (ends a pass, no error)
    """Ends a forward pass whose later part nobody reads."""


def _outputs(network: nn.Module, names: Sequence[str], images: Tensor) -> list[Tensor]:
    """Return the outputs of blocks, and evaluate nothing behind the last of them."""
    outputs: dict[str, Tensor] = {}

    def read(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if name == names[-1]:
                outputs[name] = output
                raise _LastBlockReached
            # A copy, because a later block may work in place.
            outputs[name] = output.clone()

        return hook

    hooks = [network.get_submodule(name).register_forward_hook(read(name)) for name in names]
    try:
        with suppress(_LastBlockReached):
            network(images)
    finally:
        for handle in hooks:
            handle.remove()
    return [outputs[name] for name in names]


def _require_evaluation(network: nn.Module) -> None:
    if network.training:
        raise ValueError("the network is in training mode, where images interact: call eval()")
