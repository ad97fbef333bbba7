"""Building a network from its params and a seed, and giving it a new head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from headstart.artifacts.keys import derive_seed
from headstart.networks import own, timm_models
from headstart.networks.convnet import ConvNet, WideResNet
from headstart.networks.network import Network, NetworkError
from headstart.networks.weights import load_weights
from headstart.params.models import ConvNet as ConvNetParams
from headstart.params.models import Model, OwnNetwork, Timm
from headstart.params.models import WideResNet as WideResNetParams


def build(model: Model, channels: int, image_size: int, classes: int, seed: int) -> Network:
    """Build a network for images [n, channels, image_size, image_size], on the CPU.

    Its random weights depend on `seed` only, whatever was built or drawn before, and the global
    random generator is left as it was. Weights that the params name replace those of the backbone,
    and those of the head where the file holds one for so many classes.

    Raises:
        NetworkError: the model, its arguments, its file or its weights cannot be used.
    """
    with _seeded(derive_seed("backbone", seed)):
        backbone = _backbone(model, channels, image_size)
        features = _dry_run(backbone, channels, image_size, _describe(model))
    head = _head(features, classes, derive_seed("head", seed))
    network = Network(backbone, head)
    if model.weights is not None:
        load_weights(network, model, channels)
    return network


def fresh_backbone(model: Model, image_shape: Sequence[int], seed: int) -> nn.Module:
    """Return a backbone for images of a shape [..., channels, size, size], never with given weights."""
    random = model.model_copy(update={"weights": None})
    return build(random, image_shape[-3], image_shape[-1], classes=2, seed=seed).backbone


def new_head(network: Network, classes: int, seed: int) -> None:
    """Replace the head by one for `classes`, drawn from `seed` alone; the backbone stays as it is.

    Weights are Glorot-uniform (Glorot & Bengio 2010), biases zero.
    """
    device = network.head.weight.device
    network.head = _head(network.feature_dimension, classes, seed).to(device)


def _head(features: int, classes: int, seed: int) -> nn.Linear:
    head = nn.utils.skip_init(nn.Linear, features, classes)
    nn.init.xavier_uniform_(head.weight, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(head.bias)
    return head


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside, and give the global generator of the CPU back unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _backbone(model: Model, channels: int, image_size: int) -> nn.Module:
    match model:
        case ConvNetParams():
            return ConvNet(channels, model.width)
        case WideResNetParams():
            options = (model.dropout, model.norm_momentum, model.norm_scale)
            return WideResNet(channels, model.depth, model.width, *options)
        case Timm():
            return timm_models.backbone(model, channels, image_size)
        case OwnNetwork():
            return own.backbone(model, channels, image_size)


def _describe(model: Model) -> str:
    match model:
        case Timm():
            return f"timm model {model.name!r} with kwargs {model.kwargs}"
        case OwnNetwork():
            return f"{model.path}:{model.function}"
        case _:
            return f"{model.kind} network"


def _dry_run(backbone: nn.Module, channels: int, image_size: int, name: str) -> int:
    """Return the number of features, from two black images in evaluation mode."""
    images = torch.zeros(2, channels, image_size, image_size)
    size = f"{channels} × {image_size} × {image_size} images"
    backbone.eval()
    try:
        with torch.no_grad():
            features = backbone(images)
    # Any network's code runs here, so that any error may come.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise NetworkError(f"{name}: cannot take {size}: {reason}; change its arguments") from error
    finally:
        backbone.train()
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise NetworkError(f"{name}: features [2, d] are needed from 2 {size}, found {shape}")
    return features.shape[1]
