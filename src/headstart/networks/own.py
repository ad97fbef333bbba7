"""A user's own network: a function in a Python file that makes the backbone."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from headstart.networks.network import NetworkError
from headstart.params.models import OwnNetwork


def backbone(model: OwnNetwork, channels: int, image_size: int) -> nn.Module:
    """Call `function(channels=…, image_size=…, **kwargs)` of the file; return the module it makes.

    The module maps images [n, channels, image_size, image_size] to features [n, d]. For what looks into
    its blocks it names them in an attribute `block_names`, from input to output, unless it is an
    `nn.Sequential`, whose blocks are its children. Random weights must come
    from torch's generator. Only this one file is verified, so it should import installed packages
    only.

    Raises:
        NetworkError: the file is missing or not the one the params name, or its function is
            missing, fails, or makes no module.
    """
    path = Path(model.path)
    module = _import(path, model.sha256)
    function = getattr(module, model.function, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        raise NetworkError(
            f"{path}: no function {model.function!r}; the file has {', '.join(names)}"
        )
    try:
        made = function(channels=channels, image_size=image_size, **model.kwargs)
    # The user's code may raise anything; the cause is shown with it.
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        arguments = f"channels={channels}, image_size={image_size}, {model.kwargs}"
        raise NetworkError(f"{path}:{model.function}: fails with {arguments}: {reason}") from error
    if not isinstance(made, nn.Module):
        raise NetworkError(
            f"{path}:{model.function}: a torch.nn.Module is needed, found {type(made).__name__}"
        )
    submodules = dict(made.named_modules())
    unknown = [name for name in getattr(made, "block_names", ()) if name not in submodules]
    if unknown:
        raise NetworkError(
            f"{path}:{model.function}: block_names {unknown} are no submodules of the network"
        )
    return made


def _import(path: Path, sha256: str) -> ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise NetworkError(f"{path}: this network file cannot be read: {error.strerror}") from None
    found = hashlib.sha256(source).hexdigest()
    if found != sha256:
        raise NetworkError(
            f"{path}: its sha256 is {found}, but the params say {sha256}; "
            f"undo the edit, or accept it with `headstart data add MODEL {path}:FUNCTION`"
        )
    specification = importlib.util.spec_from_loader(f"own_network_{found[:12]}", loader=None)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        # The very bytes that were verified are run, not whatever the file holds by now.
        exec(compile(source, str(path), "exec"), vars(module))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise NetworkError(f"{path}: cannot be imported: {reason}") from error
    return module
