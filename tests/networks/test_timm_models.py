import urllib.error
import urllib.request

import pytest
import timm
import torch

from headstart.networks import timm_models
from headstart.networks.build import build
from headstart.networks.network import NetworkError, block_names, every_block
from headstart.networks.weights import state_digest
from headstart.params.models import Timm, Weights

TINY = {"patch_size": 4, "embed_dim": 64, "depth": 4, "num_heads": 4}
NAME = "vit_tiny_patch16_224"


def model(name: str = NAME, sha256: str = "", **kwargs: object) -> Timm:
    weights = Weights(sha256=sha256) if sha256 else None
    return Timm(kind="timm", name=name, kwargs=kwargs, weights=weights)


def test_a_tiny_vision_transformer_is_built_for_grey_images_of_16_pixels() -> None:
    network = build(model(**TINY), 1, 16, 26, seed=0)
    images = torch.rand(3, 1, 16, 16)
    assert network.feature_dimension == 64
    assert network(images).shape == (3, 26)
    assert network.features(images).shape == (3, 64)
    assert block_names(network.backbone) == ("blocks.0", "blocks.1", "blocks.2", "blocks.3")
    assert [block.shape for block in every_block(network.backbone.eval())(images)] == [
        (3, 17, 64)
    ] * 4


def test_blocks_are_those_that_timm_itself_returns() -> None:
    network = build(model(**TINY), 1, 16, 26, seed=0).eval()
    images = torch.rand(3, 1, 16, 16)
    expected = network.backbone.forward_intermediates(  # type: ignore[operator]
        images, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    for block, (patches, prefix) in zip(
        every_block(network.backbone)(images), expected, strict=True
    ):
        torch.testing.assert_close(block, torch.cat([prefix, patches], dim=1))


def test_a_network_without_a_fixed_input_size_is_built_by_the_same_call() -> None:
    network = build(model("resnet18"), 1, 32, 4, seed=0)
    assert network.feature_dimension == 512
    assert block_names(network.backbone) == ("act1", "layer1", "layer2", "layer3", "layer4")


def test_timm_networks_depend_on_their_seed_alone() -> None:
    first = build(model(**TINY), 1, 16, 5, seed=0).state_dict()
    torch.rand(3)
    assert state_digest(first) == state_digest(build(model(**TINY), 1, 16, 5, seed=0).state_dict())
    assert state_digest(first) != state_digest(build(model(**TINY), 1, 16, 5, seed=1).state_dict())


def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(NetworkError, match=r"no model 'resnet19'; did you mean .*resnet18"):
        build(model("resnet19"), 3, 32, 4, seed=0)
    with pytest.raises(NetworkError, match="no model 'hf-hub:timm/resnet18'"):
        build(model("hf-hub:timm/resnet18"), 3, 32, 4, seed=0)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(
        NetworkError, match=r"'resnet18': kwargs \{'widht': 3\} do not fit: .*'widht'"
    ):
        build(model("resnet18", widht=3), 3, 32, 4, seed=0)
    with pytest.raises(NetworkError, match=r"kwargs.in_chans: 3 is set from the task"):
        build(model("resnet18", in_chans=3), 3, 32, 4, seed=0)


def test_published_weights_without_a_network_say_where_they_are_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(
        NetworkError,
        match=r"'resnet18.a1_in1k' cannot .*huggingface.co/timm/resnet18.*weights.path",
    ):
        build(model("resnet18.a1_in1k", sha256="0" * 64), 3, 32, 4, seed=0)


def test_published_weights_are_verified_and_fitted_to_small_grey_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = timm.create_model(NAME, depth=1).state_dict()
    monkeypatch.setattr(timm_models, "published_state", lambda _name: published)
    digest = state_digest(published)
    backbone = build(model(depth=1, sha256=digest), 1, 32, 4, seed=0).backbone.state_dict()
    assert torch.equal(backbone["blocks.0.mlp.fc1.weight"], published["blocks.0.mlp.fc1.weight"])
    assert backbone["pos_embed"].shape == (1, 5, 192)
    colour = published["patch_embed.proj.weight"]
    torch.testing.assert_close(backbone["patch_embed.proj.weight"], colour.sum(1, keepdim=True))
    with pytest.raises(
        NetworkError, match=f"content has sha256 {digest}, but weights.sha256 says 000"
    ):
        build(model(depth=1, sha256="0" * 64), 1, 32, 4, seed=0)
    with pytest.raises(NetworkError, match=r"12 missing: backbone.blocks.1.norm1.weight"):
        build(model(depth=2, sha256=digest), 1, 32, 4, seed=0)
