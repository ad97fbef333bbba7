"""What every network is here: a backbone from images to features, and a linear head on it."""

from torch import Tensor, nn


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
