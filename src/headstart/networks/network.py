"""What every network is here: a backbone from images to features, and a linear head on it."""

from collections.abc import Sequence

from torch import Tensor, nn


class NetworkError(ValueError):
    """A network that cannot be built; one line names the key or file, the value and the remedy."""


class Network(nn.Module):
    """A backbone, images [n, c, h, w] to features [n, d], and a head, to logits [n, classes].

    The keys of its state dict begin with `backbone.` and `head.`.

    Attributes:
        block_names: the backbone's blocks from input to output, as names of its submodules.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Linear, block_names: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.block_names = tuple(block_names)

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

    def blocks(self, images: Tensor) -> list[Tensor]:
        """Return the output of every block, in the order of `block_names`.

        Convolutional blocks give maps [n, channels, height, width], transformer blocks tokens
        [n, tokens, width], class token included and before the final norm.
        """
        outputs: dict[str, Tensor] = {}

        def remember(name: str, output: Tensor) -> None:
            # A copy, because a later block may work in place.
            outputs[name] = output.clone()

        hooks = [
            self.backbone.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: remember(name, output)
            )
            for name in self.block_names
        ]
        try:
            self.backbone(images)
        finally:
            for hook in hooks:
                hook.remove()
        return [outputs[name] for name in self.block_names]
