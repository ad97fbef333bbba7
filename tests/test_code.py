"""The code in a key: which edits count, and what declaring them does."""

import ast
import json
import os
from pathlib import Path

import pytest
from checkout import ROOT

from headstart.artifacts import code
from headstart.artifacts import syntax as syntax_module
from headstart.artifacts.syntax import SyntaxCache, facts_of, syntax
from headstart.registry import STEPS

BASE = '''"""Doc."""
import numpy as np
from toy.helpers import double

def f(x):
    """Doc."""
    # why
    return double(x) + 1
'''


def write_package(
    folder: Path, main: str = BASE, helpers: str = "def double(x):\n    return 2 * x\n"
) -> Path:
    package = folder / "toy"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text(main)
    (package / "helpers.py").write_text(helpers)
    (package / "unused.py").write_text("x = 1\n")
    return package


def hash_of(package: Path) -> str:
    return code.source_hash("toy.main", package=package)


@pytest.mark.parametrize(
    "edited",
    [
        BASE.replace('"""Doc."""', '"""Another."""'),
        BASE.replace("# why", "# because"),
        BASE.replace("return double(x) + 1", "return (double(x)\n            + 1)"),
        BASE.replace('    """Doc."""\n', ""),
    ],
)
def test_docstrings_comments_and_layout_are_not_code(tmp_path: Path, edited: str) -> None:
    before = hash_of(write_package(tmp_path))
    assert hash_of(write_package(tmp_path, edited)) == before


def test_an_edited_line_changes_the_hash_of_all_that_imports_it(tmp_path: Path) -> None:
    before = hash_of(write_package(tmp_path))
    assert hash_of(write_package(tmp_path, BASE.replace("+ 1", "+ 2"))) != before
    assert hash_of(write_package(tmp_path, helpers="def double(x):\n    return 3 * x\n")) != before


def test_a_module_that_is_not_imported_does_not_count(tmp_path: Path) -> None:
    package = write_package(tmp_path)
    before = hash_of(package)
    (package / "unused.py").write_text("x = 2\n")
    assert hash_of(package) == before
    assert "toy.unused" not in code.closure("toy.main", package=package)


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    package = write_package(tmp_path, "def f():\n    from toy import unused\n    return unused.x\n")
    assert "toy.unused" in code.closure("toy.main", package=package)


def test_fields_that_newer_pythons_add_empty_do_not_change_the_form() -> None:
    tree = ast.parse("def f(): pass").body[0]
    plain = syntax(tree)
    tree.type_params = []
    tree.type_comment = None
    assert syntax(tree) == plain


def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the sources that are parsed from now on."""
    sources: list[bytes] = []
    monkeypatch.setattr(
        syntax_module, "facts_of", lambda source: sources.append(source) or facts_of(source)
    )
    return sources


def test_a_process_parses_only_sources_that_no_process_has_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, path = parsed(monkeypatch), tmp_path / "syntax.json"
    first = SyntaxCache(path)
    facts = first.facts(BASE.encode())
    first.save()
    assert facts == facts_of(BASE.encode())
    second = SyntaxCache(path)
    assert second.facts(BASE.encode()) == facts
    assert sources == [BASE.encode()]
    edited = BASE.replace("+ 1", "+ 2").encode()
    assert second.facts(edited).hash != facts.hash
    assert sources == [BASE.encode(), edited]


def test_an_edit_counts_even_where_size_and_time_of_the_file_stay_the_same(tmp_path: Path) -> None:
    package = write_package(tmp_path)
    main = package / "main.py"
    times = (main.stat().st_atime_ns, main.stat().st_mtime_ns)
    before = hash_of(package)
    main.write_text(BASE.replace("+ 1", "+ 2"))
    os.utime(main, ns=times)
    assert hash_of(package) != before


@pytest.mark.parametrize("damage", [b"", b"no digest", b"0" * 64 + b"\n{}"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "syntax.json"
    path.write_bytes(damage)
    cached = SyntaxCache(path)
    assert cached.facts(BASE.encode()) == facts_of(BASE.encode())
    cached.save()
    assert path.read_bytes() != damage


def test_a_cache_with_one_digit_changed_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "syntax.json"
    cached = SyntaxCache(path)
    facts = cached.facts(BASE.encode())
    cached.save()
    path.write_bytes(path.read_bytes().replace(facts.hash[:8].encode(), b"0" * 8))
    sources = parsed(monkeypatch)
    assert SyntaxCache(path).facts(BASE.encode()) == facts
    assert sources == [BASE.encode()]


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    cached = SyntaxCache(tmp_path / "file" / "syntax.json")
    assert cached.facts(BASE.encode()) == facts_of(BASE.encode())
    cached.save()


def test_a_cache_keeps_what_was_asked_for_last_and_nothing_older(tmp_path: Path) -> None:
    path = tmp_path / "syntax.json"
    for source in (b"x = 1", b"x = 2"):
        cached = SyntaxCache(path)
        cached.facts(b"common = 0")
        cached.facts(source)
        cached.save()
    assert len(json.loads(path.read_bytes().split(b"\n")[1])) == 2


def test_another_python_or_another_way_of_hashing_has_a_cache_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make = syntax_module.syntax_cache.__wrapped__
    here = make().path
    monkeypatch.setattr(syntax_module.platform, "python_version", lambda: "3.99.0")
    assert make().path != here
    monkeypatch.undo()
    for name in syntax_module.MAKERS:
        (tmp_path / name).write_text("def syntax(node): return 0\n")
    monkeypatch.setattr(syntax_module, "__file__", str(tmp_path / "syntax.py"))
    assert make().path.name != here.name


def test_declaring_an_edit_the_same_takes_the_old_key_back_and_a_bump_does_not(
    tmp_path: Path,
) -> None:
    versions = tmp_path / "versions.json"
    entry = STEPS["data"].module
    assert code.declare("data", entry, bump=False, versions=versions) == (1, True)
    assert code.code_of("data", entry, versions) == "1"
    versions.write_text(json.dumps({"data": {"version": 1, "hash": "of an earlier source"}}))
    assert code.code_of("data", entry, versions) == f"1+{code.source_hash(entry)}"
    assert code.declare("data", entry, bump=False, versions=versions) == (1, True)
    assert code.code_of("data", entry, versions) == "1"
    assert code.declare("data", entry, bump=True, versions=versions) == (2, True)
    assert code.code_of("data", entry, versions) == "2"


@pytest.mark.parametrize("step", [name for name, kind in STEPS.items() if kind.versioned])
def test_every_edit_of_a_step_is_declared(step: str) -> None:
    declared = code.read_versions()[step]["hash"]
    assert declared == code.source_hash(STEPS[step].module), (
        f"the source of step {step} changed: say `headstart version {step} --same` where results stay the same, "
        f"`headstart version {step} --bump` where they change"
    )


def test_results_of_figures_do_not_depend_on_training_code() -> None:
    assert not [
        name
        for name in code.closure(STEPS["figures"].module)
        if name.startswith("headstart.training")
    ]


def test_the_entry_of_every_step_exists() -> None:
    for kind in STEPS.values():
        path = code.module_path(kind.module)
        assert path is not None, kind
        assert ROOT in path.parents
        function = kind.run.partition(":")[2]
        names = [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef)
        ]
        assert function in names
