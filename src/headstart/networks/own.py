"""A user's own network: a function in a Python file that makes the backbone.

It is made of that file and of the local modules that it imports, all of which are verified.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
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


@dataclass(frozen=True)
class OwnSource:
    """The bytes of a network file, and of each module beside it that it imports, by dotted name."""

    path: Path
    content: bytes
    modules: dict[str, tuple[Path, bytes]]

    @property
    def sha256(self) -> str:
        """Return what identifies the content: of the file alone where it imports no local module.

        Otherwise of the sha256 of every file, local modules by their place beside the network file, so
        that it does not depend on where they all lie.
        """
        own = hashlib.sha256(self.content).hexdigest()
        if not self.modules:
            return own
        lines = sorted(
            f"{file.relative_to(self.path.parent).as_posix()} {hashlib.sha256(content).hexdigest()}"
            for file, content in self.modules.values()
        )
        return hashlib.sha256("\n".join([own, *lines]).encode()).hexdigest()

    def describe(self) -> str:
        """Return the file, and with it the local modules."""
        names = ", ".join(str(file) for file, _ in self.modules.values())
        return f"{self.path}" + (f" (with {names})" if names else "")


def read_source(path: Path) -> OwnSource:
    """Read a network file and, recursively, the local modules that it and they import.

    Raises:
        NetworkError: a file cannot be read, or an imported module is neither installed nor beside it.
    """
    content = _read(path)
    modules: dict[str, tuple[Path, bytes]] = {}
    _gather(path, content, "", path.parent, modules)
    return OwnSource(path, content, dict(sorted(modules.items())))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NetworkError(f"{path}: this network file cannot be read: {error.strerror}") from None


def _gather(
    path: Path, content: bytes, package: str, folder: Path, modules: dict[str, tuple[Path, bytes]]
) -> None:
    """Add the local modules that one file of a package imports, and theirs."""
    for name in _imports(path, content, package):
        if not name or _installed(name.partition(".")[0], folder):
            continue
        found = False
        parts = name.split(".")
        # A package is run before its modules; the last part may be a name inside a module.
        for dotted in (".".join(parts[: end + 1]) for end in range(len(parts))):
            place = folder / dotted.replace(".", "/")
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            found = found or place.is_dir() or file.is_file()
            if file.is_file() and dotted not in modules:
                modules[dotted] = file, _read(file)
                inside = dotted if place.is_dir() else dotted.rpartition(".")[0]
                _gather(file, modules[dotted][1], inside, folder, modules)
        if not found:
            raise NetworkError(
                f"{path}: imports {name!r}, which is neither installed nor beside {folder}; install it, "
                "or put the file there"
            )


def _imports(path: Path, content: bytes, package: str) -> Iterator[str]:
    """Yield the dotted names that a file imports; of `from a import b` also `a.b`, a module perhaps."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        raise NetworkError(
            f"{path}: cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                if not package:
                    raise NetworkError(
                        f"{path}: a relative import, but a network file is in no package; import the "
                        "module by its name"
                    )
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _installed(name: str, folder: Path) -> bool:
    """Return whether a module comes from elsewhere than the folder of the network file."""
    if name in sys.stdlib_module_names:
        return True
    if name in sys.modules and _is_local(sys.modules[name]):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that was made by hand, such as __main__
        return True
    if spec is None:
        return False
    if not spec.origin:
        # A folder without __init__.py, which may be the user's own.
        places = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        return folder.resolve() / name not in places
    return folder.resolve() not in Path(spec.origin).resolve().parents[:2]


class _Sources(MetaPathFinder, Loader):
    """Imports local modules from the very bytes that were verified, whatever their files contain by now."""

    def __init__(self, source: OwnSource) -> None:
        self.source = source

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a local module is loaded from; a folder without `__init__.py` counts too."""
        held = self.source.modules
        if name in held:
            file = held[name][0]
            spec = ModuleSpec(name, self, origin=str(file), is_package=file.name == "__init__.py")
            spec.has_location = True
            return spec
        if any(each.startswith(f"{name}.") for each in held):
            return ModuleSpec(name, self, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's source."""
        if module.__name__ in self.source.modules:
            file, content = self.source.modules[module.__name__]
            exec(compile(content, str(file), "exec"), vars(module))


def run_source(source: OwnSource, name: str) -> ModuleType:
    """Run a network file as a module of a name, with its local modules.

    Local modules stay loaded, as `forward` may import them; those of the network before make room.
    """
    for each in [each for each, module in sys.modules.items() if _is_local(module)]:
        del sys.modules[each]
    finder = _Sources(source)
    module = ModuleType(name)
    module.__file__ = str(source.path)
    sys.modules[name] = module  # dataclasses look their module up there
    sys.meta_path.insert(0, finder)
    try:
        exec(compile(source.content, str(source.path), "exec"), vars(module))
        for each in source.modules:
            importlib.import_module(each)
    finally:
        sys.meta_path.remove(finder)
    return module


def _is_local(module: ModuleType) -> bool:
    return isinstance(getattr(module, "__loader__", None), _Sources)
