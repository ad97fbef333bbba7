"""The examples of `docs/library.md` run as they stand, and say what the page says of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from checkout import ROOT

PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[number], f"library.md, example {number + 1}", "exec"), names)
    return names


def interactions(names: dict[str, Any]) -> None:
    # The log-odds of a linear network hold no single player alone: all orders add up to v(x_N) − v(x_∅).
    scores, found = names["scores"], names["interactions"]
    assert found.shape == scores.shape == (4, 512)
    difference = (scores[:, -1] - scores[:, 0]).double()
    assert (found[:, 1:].sum(1) - difference).abs().max() < 1e-3


def similarity(names: dict[str, Any]) -> None:
    cka, x, y = names["linear_cka"], names["x"], names["y"]
    assert cka(x, x) == pytest.approx(1, abs=1e-5)
    assert cka(x, y, debiased=False) > 0.5
    assert cka(x, y) < cka(x, y, debiased=False)
    with pytest.raises(ValueError, match="y: 15 images, but x has 16"):
        cka(x, y[1:])


def invariance(names: dict[str, Any]) -> None:
    same, other = names["same"], names["other"]
    assert same.pass_rate == 1
    assert same.value > 0.99
    assert other.value < 0.5
    with pytest.raises(ValueError, match="images: shape"):
        names["stir"](names["target"], names["reference"], names["images"][0])


def verdict(names: dict[str, Any]) -> None:
    found = names["verdict"](names["pd"].concat([names["runs"], names["source"]]))
    assert (found.verdict, found.chosen_epoch) == ("earlier-better", 5)
    assert found.effect == pytest.approx(6, abs=1.5)


def rank(names: dict[str, Any]) -> None:
    full, narrow = (names["feature_spectrum"](names[n]).effective_rank for n in ("full", "narrow"))
    assert 15 < full <= 16
    assert 2 < narrow <= 3


CHECKS: tuple[Callable[[dict[str, Any]], None], ...] = (
    interactions,
    similarity,
    invariance,
    verdict,
    rank,
)


@pytest.mark.parametrize("number", range(len(CHECKS)), ids=lambda n: CHECKS[n].__name__)
def test_an_example_of_at_most_fifteen_lines_says_what_the_page_says(number: int) -> None:
    assert len(EXAMPLES) == len(CHECKS)
    assert EXAMPLES[number].count("\n") <= 15
    CHECKS[number](run(number))


def test_importing_headstart_loads_nothing_heavy_and_takes_less_than_a_tenth_of_a_second() -> None:
    code = (
        "import sys, time; before = set(sys.modules); start = time.process_time(); import headstart; "
        "seconds = time.process_time() - start; "
        "print(sorted(set(sys.modules) - before & {'torch', 'pandas', 'numpy', 'scipy', 'matplotlib'})); "
        "assert not {'torch', 'pandas', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules); "
        "assert seconds < 0.1, seconds"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
