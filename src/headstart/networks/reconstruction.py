"""A network that draws its image again from the patch tokens of a vision transformer."""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.networks.network import Network, NetworkError


class Reconstructor(Network):
    """Images to images: a backbone's patch tokens, a 1 × 1 convolution, and a pixel shuffle.

    Tokens are those after the backbone's final norm, the class token and its like left out (arXiv
    2307.06006, section 3.4). The convolution is a linear map of every token, to the values of its
    patch; it stands where the head of a classifier does.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return images [n, channels, height, width] as they are drawn again, in the input's units."""
        patch = patch_size(self.backbone)
        tokens = patch_tokens(self.backbone, images)
        rows = images.shape[-2] // patch
        maps = self.head(tokens).transpose(1, 2).unflatten(2, (rows, -1))
        return F.pixel_shuffle(maps, patch)


def reconstructor(network: Network, channels: int, seed: int) -> Reconstructor:
    """Return a network on the backbone of another, with a new decoder drawn from `seed` alone.

    Raises:
        NetworkError: the backbone gives no patch tokens.
    """
    problem = reconstruction_problem(network.backbone)
    if problem:
        raise NetworkError(problem)
    values = channels * patch_size(network.backbone) ** 2
    decoder = nn.utils.skip_init(nn.Linear, cast(int, network.backbone.num_features), values)
    nn.init.xavier_uniform_(decoder.weight, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(decoder.bias)
    device = network.head.weight.device
    return Reconstructor(network.backbone, decoder.to(device))


def reconstruction_problem(backbone: nn.Module) -> str:
    """Return why a backbone cannot reconstruct images, or an empty text."""
    embedding: Any = getattr(backbone, "patch_embed", None)
    size = getattr(embedding, "patch_size", None)
    known = all(hasattr(backbone, name) for name in ("forward_features", "num_prefix_tokens"))
    if not known or size is None:
        return (
            f"{type(backbone).__name__} gives no patch tokens, which mode reconstruct draws the "
            "image from; choose a vision transformer of timm"
        )
    if size[0] != size[1]:
        return f"patches of {size[0]} × {size[1]} pixels; mode reconstruct needs square ones"
    return ""


def patch_size(backbone: nn.Module) -> int:
    """Return the side of a patch in pixels."""
    return int(cast(Any, backbone.patch_embed).patch_size[0])


def patch_tokens(backbone: nn.Module, images: Tensor) -> Tensor:
    """Return the patch tokens [n, patches, width], after the final norm."""
    forward = cast(Callable[[Tensor], Tensor], backbone.forward_features)
    return forward(images)[:, cast(int, backbone.num_prefix_tokens) :]
