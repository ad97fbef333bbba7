"""Reconstruction by the one training loop: what is drawn, what is minimised, what has no meaning."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch import Tensor, nn

from headstart.networks.build import build
from headstart.networks.network import NetworkError
from headstart.networks.reconstruction import Reconstructor, patch_tokens, reconstructor
from headstart.params.models import ConvNet, Timm
from headstart.params.recipe import Optimizer, Selection, Training
from headstart.training.evaluation import CLASSIFICATION, RECONSTRUCTION, evaluate
from headstart.training.loop import fit

KWARGS = {"patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}


def network(channels: int = 3) -> Reconstructor:
    model = Timm(kind="timm", name="vit_tiny_patch16_224", kwargs=KWARGS)
    return reconstructor(build(model, channels, 8, classes=5, seed=0), channels, seed=1)


class Pictures:
    """The same few pictures in every epoch, with labels that nobody needs."""

    num_images, num_classes, steps = 6, 2, 2

    def __init__(self) -> None:
        self.images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def epoch(self, epoch: int) -> list[tuple[Tensor, Tensor]]:
        return [(part, torch.zeros(len(part), dtype=torch.int64)) for part in self.images.split(3)]

    def __iter__(self):
        return iter(self.epoch(0))


def test_the_image_is_drawn_by_a_convolution_of_the_patch_tokens_and_a_pixel_shuffle() -> None:
    net, images = network(), torch.randn(2, 3, 8, 8)
    convolution = nn.Conv2d(16, 48, 1)
    convolution.weight.data = net.head.weight.data[:, :, None, None]
    convolution.bias.data = net.head.bias.data
    tokens = net.eval().backbone.forward_features(images)[:, 1:]
    maps = tokens.transpose(1, 2).unflatten(2, (2, 2))
    expected = nn.PixelShuffle(4)(convolution(maps))
    torch.testing.assert_close(net(images), expected)
    assert net(images).shape == images.shape


def test_the_class_token_is_left_out() -> None:
    backbone = timm.create_model("vit_tiny_patch16_224", img_size=8, num_classes=0, **KWARGS)
    assert patch_tokens(backbone, torch.zeros(1, 3, 8, 8)).shape == (1, 4, 16)


def test_one_loop_learns_to_draw_and_has_no_accuracy() -> None:
    net, data = network(), Pictures()
    training = Training(epochs=25, batch_size=3, optimizer=Optimizer(name="adamw"))
    outcome = fit(
        net, data, data, data, training, 1e-2, 0,
        objective=RECONSTRUCTION, selection=Selection(metric="loss"), test_epochs=(),
    )  # fmt: skip
    start, end = outcome.history[0], outcome.history[-1]
    assert end.validation_loss < 0.7 * start.validation_loss
    assert outcome.best_epoch == min(outcome.history, key=lambda r: r.validation_loss).epoch
    assert not outcome.diverged
    for value in (end.train_accuracy, end.validation_accuracy, outcome.test_accuracy_at_best):
        assert value is not None
        assert math.isnan(value)
    with torch.no_grad():
        expected = (net.eval()(data.images) - data.images).abs().mean().item()
    assert end.validation_loss == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_unequal_batches_is_that_of_all_images() -> None:
    net, images = network().eval(), torch.randn(7, 3, 8, 8)
    labels = torch.zeros(7, dtype=torch.int64)

    def batches(size: int) -> list[tuple[Tensor, Tensor]]:
        return list(zip(images.split(size), labels.split(size), strict=True))

    losses = [evaluate(net, batches(size), RECONSTRUCTION).loss for size in (1, 3, 7)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_a_network_that_knows_nothing_draws_the_mean_image() -> None:
    images = torch.randn(500, 1, 4, 4)
    images = (images - images.mean()) / images.std()
    labels = torch.zeros(500, dtype=torch.int64)
    lost = RECONSTRUCTION.loss(torch.zeros_like(images), images, labels, 0.0).item()
    assert 0.7 < lost <= RECONSTRUCTION.chance_loss(2)[0]
    assert CLASSIFICATION.chance_loss(7) == (math.log(7), "ln 7")


def test_a_network_without_tokens_says_so() -> None:
    with pytest.raises(NetworkError, match="ConvNet gives no patch tokens"):
        reconstructor(build(ConvNet(kind="convnet", width=2), 3, 8, 2, seed=0), 3, 0)
