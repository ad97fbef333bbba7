"""What packages export: documented names that load their module only when they are used."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

PACKAGES = ("headstart.metrics", "headstart.networks", "headstart.statistics")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert len(module.__all__) > 5
    for name in module.__all__:
        found = getattr(module, name)
        # The one name of a study: what a table of runs says is part of inference.
        own = package if name != "verdict" else "headstart.studies.early_stopping"
        assert found.__module__.startswith(f"{own}."), name
        assert inspect.getdoc(found), name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_that_of_a_module_which_would_hide_it(package: str) -> None:
    module = importlib.import_module(package)
    modules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert not modules & set(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_a_package_does_not_export_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018


def test_importing_the_packages_loads_neither_torch_nor_pandas() -> None:
    source = f"import sys, {', '.join(PACKAGES)}; print({{'torch', 'pandas'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
