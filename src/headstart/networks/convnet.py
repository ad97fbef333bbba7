"""A small convolutional network for small images, quick enough to train hundreds on a CPU."""

from collections import OrderedDict

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Three stages of two 3 × 3 convolutions each, then global average pooling.

    Every convolution is followed by batch normalisation and ReLU, stages are separated by 2 × 2 max
    pooling, and their widths are `width`, 2 `width` and 4 `width`. Images need sides of 4 pixels or
    more. Convolutions have no bias (batch normalisation has one) and start with He's normal
    initialisation (He et al. 2015).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stage1 = _stage(channels, width)
        self.stage2 = _stage(width, 2 * width)
        self.stage3 = _stage(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.block_names = tuple(
            f"stage{stage}.block{block}" for stage in (1, 2, 3) for block in (1, 2)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, c, h, w] to features [n, 4 width]."""
        maps = self.pool(self.stage1(images))
        maps = self.pool(self.stage2(maps))
        return self.stage3(maps).mean(dim=(2, 3))


def _stage(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(block1=_block(channels, width), block2=_block(width, width)))


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(channels, width, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(width),
            relu=nn.ReLU(inplace=True),
        )
    )
