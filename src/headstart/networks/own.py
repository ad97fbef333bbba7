"""A user's own network: a function in a Python file that makes the backbone."""

from pathlib import Path
from types import ModuleType

from torch import nn

from headstart.networks.network import NetworkError
from headstart.networks.own_source import read_source, run_source
from headstart.params.models import OwnNetwork


def backbone(model: OwnNetwork, channels: int, image_size: int) -> nn.Module:
    """Call `function(channels=…, image_size=…, **kwargs)` of the file; return the module it makes.

    The module maps images [n, channels, image_size, image_size] to features [n, d]. For what looks into
    its blocks it names them in an attribute `block_names`, from input to output, unless it is an
    `nn.Sequential`, whose blocks are its children. Random weights must come
    from torch's generator. Modules beside the file that it imports are verified with it.

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
    source = read_source(path)
    if source.sha256 != sha256:
        raise NetworkError(
            f"{source.describe()}: its sha256 is {source.sha256}, but the params say {sha256}; "
            f"undo the edit, or accept it with `headstart data add MODEL {path}:FUNCTION`"
        )
    try:
        return run_source(source, f"own_network_{sha256[:12]}")
    # The user's code may raise anything; the cause is shown with it.
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise NetworkError(f"{path}: cannot be imported: {reason}") from error
