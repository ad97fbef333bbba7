"""Convolutional networks for small images: a quick one, and wide residual networks."""

from collections import OrderedDict
from typing import Literal

import torch.nn.functional as F
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


class WideResNet(nn.Module):
    """WRN-`depth`-`width`: a convolution, three groups of pre-activation blocks, average pooling.

    The groups have 16 k, 32 k and 64 k channels (k is `width`) at strides 1, 2 and 2, with
    n = (depth - 4) / 6 blocks each; for 32 × 32 images the last maps are 8 × 8. `dropout` is the
    rate between the two convolutions of a block. With a head of 10 classes, WRN-28-10 has 36.5 M
    parameters. Norms give the newest batch the share `norm_momentum` in their running statistics;
    their scales begin at one, or `uniform` in [-0.05, 0.05], as Keras' "uniform" draws them.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        width: int,
        dropout: float = 0.0,
        norm_momentum: float = 0.1,
        norm_scale: Literal["one", "uniform"] = "one",
    ) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        widths = (16, 16 * width, 32 * width, 64 * width)
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.group1 = _group(widths[0], widths[1], blocks, 1, dropout)
        self.group2 = _group(widths[1], widths[2], blocks, 2, dropout)
        self.group3 = _group(widths[2], widths[3], blocks, 2, dropout)
        self.norm = nn.BatchNorm2d(widths[3])
        self.block_names = tuple(
            f"group{group}.{block}" for group in (1, 2, 3) for block in range(blocks)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum
                if norm_scale == "uniform":
                    nn.init.uniform_(module.weight, -0.05, 0.05)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, c, h, w] to features [n, 64 k]."""
        maps = self.group3(self.group2(self.group1(self.stem(images))))
        return F.relu(self.norm(maps)).mean(dim=(2, 3))


class Block(nn.Module):
    """The wide block: norm, ReLU, 3 × 3 convolution, twice, added to its input.

    Where the number of channels changes, norm and ReLU come before the fork, and a 1 × 1
    convolution carries the input across.
    """

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.convolution1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(channels, width, 1, stride, bias=False) if channels != width else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map [n, channels, h, w] to [n, width, h / stride, w / stride]."""
        active = F.relu(self.norm1(maps))
        inner = F.relu(self.norm2(self.convolution1(active)))
        inner = self.convolution2(self.dropout(inner))
        return inner + (maps if self.shortcut is None else self.shortcut(active))


def _group(channels: int, width: int, blocks: int, stride: int, dropout: float) -> nn.Sequential:
    first = Block(channels, width, stride, dropout)
    return nn.Sequential(first, *(Block(width, width, 1, dropout) for _ in range(blocks - 1)))
