"""Any timm model as a backbone, for images of any size and number of channels."""

import difflib
import inspect
import sys
import urllib.error
import urllib.request
from typing import Any

import torch
from torch import Tensor, nn

from headstart.networks.network import NetworkError
from headstart.params.models import Timm

RESERVED = ("num_classes", "in_chans", "img_size", "pretrained", "checkpoint_path")
TIMEOUT_SECONDS = 10.0


def backbone(model: Timm, channels: int, image_size: int) -> nn.Module:
    """Build a timm model without its classifier and with random weights: images to features [n, d].

    Models with a fixed input size, such as vision transformers, get `image_size`; `kwargs` of the
    params, such as `patch_size` or `depth`, go to timm as they are. Its blocks are those of timm's
    `feature_info`.

    Raises:
        NetworkError: no such model, or timm refuses the arguments.
    """
    import timm

    _check_name(model.name)
    for key in RESERVED:
        if key in model.kwargs:
            raise NetworkError(
                f"kwargs.{key}: {model.kwargs[key]!r} is set from the task; leave it out"
            )
    try:
        built = timm.create_model(model.name, **arguments(model, channels, image_size, 0))
    # timm reports wrong arguments by assertions, type errors, arithmetic and more.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NetworkError(
            f"timm model {model.name!r}: kwargs {model.kwargs} do not fit: {reason}; "
            "see the arguments of its class in timm"
        ) from error
    # timm states its blocks by the names of its submodules, or by nothing.
    names = [entry["module"] for entry in getattr(built, "feature_info", None) or ()]
    modules = dict(built.named_modules())
    object.__setattr__(built, "block_names", tuple(name for name in names if name in modules))
    return built


def arguments(model: Timm, channels: int, image_size: int, classes: int) -> dict[str, Any]:
    """Return what timm makes a model of beside its name; 0 classes: without its classifier."""
    import timm

    given: dict[str, Any] = {**model.kwargs, "num_classes": classes, "in_chans": channels}
    if getattr(timm.get_pretrained_cfg(model.name), "fixed_input_size", False):
        given["img_size"] = image_size
    return given


def published_state(name: str) -> dict[str, Tensor]:
    """Return the weights that timm publishes under a name and tag, classifier included.

    They are downloaded where timm's cache does not hold them yet.

    Raises:
        NetworkError: no such model, no weights under the tag, or no network.
    """
    import timm

    _check_name(name)
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise NetworkError(
            f"timm model {name!r} has no published weights; name a tag of "
            f"{timm.list_pretrained(name.split('.')[0] + '*')}, or leave out `weights`"
        )
    _check_connection(name, config.hf_hub_id)
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    # The hub's client has many errors of its own, none of them shared with timm's other sources.
    except Exception as error:
        raise NetworkError(_no_download(name, " ".join(str(error).split()))) from error


def pixels(name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and deviation of the pixels that timm trained a model of a name, or its tag, on."""
    import timm

    config = timm.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    return (tuple(config.mean), tuple(config.std)) if config else None


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """Return the names under which timm keeps the classifier of a model."""
    stated = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return (stated,) if isinstance(stated, str) else tuple(stated)


def adapted_state(
    model: nn.Module, state: dict[str, Tensor], channels: int, name: str
) -> dict[str, Tensor]:
    """Fit published weights to a model of other image size or channels, by timm's rules.

    Position and patch embeddings are resampled by the model's own checkpoint filter; the first
    convolution's weights are summed over input channels or repeated.

    Raises:
        NetworkError: timm cannot read such names as this model's.
    """
    from timm.models import adapt_input_conv

    own = model.state_dict()
    known = all(each in state for each in own if not each.endswith("num_batches_tracked"))
    if known and all(each not in state or state[each].shape == own[each].shape for each in own):
        return state
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is not None:
        # By the classifier's name, filters know timm's own weights from those of the first authors.
        absent = {f"{root}.weight": torch.zeros(1, 1) for root in classifiers(model) if known}
        arguments = (absent | state, model)[: len(inspect.signature(rename).parameters)]
        try:
            state = rename(*arguments)
        except (KeyError, RuntimeError, AttributeError, IndexError, ValueError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise NetworkError(f"{name}: timm cannot read these weights: {reason}") from error
    first = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv") or ()
    for each in (first,) if isinstance(first, str) else first:
        weight = state.get(f"{each}.weight")
        if weight is not None and weight.ndim == 4 and weight.shape[1] != channels:
            state = {**state, f"{each}.weight": adapt_input_conv(channels, weight)}
    return state


def _check_name(name: str) -> None:
    import timm

    architecture = name.split(".")[0]
    if "/" in name or ":" in name or not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        fix = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() names them"
        raise NetworkError(f"name: timm has no model {name!r}; {fix}")


def _check_connection(name: str, hub: str | None) -> None:
    """Fail at once where there is neither a cached file nor a network; retries take a minute."""
    from huggingface_hub import constants, try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin")
    if hub is None or any(isinstance(try_to_load_from_cache(hub, file), str) for file in files):
        return
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return
    except OSError as error:
        address = f"{constants.ENDPOINT}/{hub}"
        raise NetworkError(_no_download(name, f"{address} cannot be reached: {error}")) from None


def _no_download(name: str, reason: str) -> str:
    return (
        f"timm weights {name!r} cannot be downloaded: {reason}; connect to a network, or fetch the "
        "safetensors file by hand and name it as weights.path"
    )
