"""How often verdicts on early starts are wrong, and how often they find a gain, by simulation.

    python benchmarks/calibration.py                  # 4,000 studies a cell, about a minute each
    python benchmarks/calibration.py --studies 200    # a look

A study is simulated as accuracies of starts × networks × draws, on validation and test, and goes through
the tests and the decision of `headstart verdict`. All numbers are percentage points. A difference from
source-best has a spread of `network` over networks; every run adds one of `run`. False rates may be at most
2.5 % + 2 standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from headstart.statistics.hypotheses import ALPHA
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies, with_shared_draws
from headstart.studies.early_stopping.verdicts.decision import decide
from headstart.studies.early_stopping.verdicts.evidence import weigh

Array = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Array]
FAR = (-27.0, -17.0, -6.5, -2.0)
NONE = (0.0,) * 8


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return normal values of SD 1."""
    return generator.normal(size=shape)


def heavy(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return values of Student's t with 3 degrees of freedom, scaled to SD 1."""
    return generator.standard_t(3, shape) / np.sqrt(3)


@dataclass(frozen=True)
class Cell:
    """One kind of study: the truth, its spreads, and the verdict that is counted."""

    name: str
    counted: str = "earlier-better"
    gains: tuple[float, ...] = NONE
    """Of the starts before source-best, in points."""
    networks: int = 8
    draws: int = 2
    shared_draws: bool = False
    network: float = 1.0
    run: float = 1.2
    draw: float = 0.0
    """Spread of a draw's own effect on a start."""
    images: float = 0.0
    """Spread of the effect of a network's own test images on a start."""
    noise: Noise = normal
    step: float = 0.0
    """Accuracies are multiples of this, so that they tie."""
    rates: int = 1
    false: bool = True

    def study(self, generator: np.random.Generator) -> Accuracies:
        """Simulate one study."""
        truth = np.array([*self.gains, 0.0])[:, None, None, None]
        starts, n, j = len(truth), self.networks, self.draws
        own = self.noise(generator, (starts, n, 1, 1)) * self.network / np.sqrt(2)
        drawn = self.noise(generator, (starts, 1 if self.shared_draws else n, j, 1)) * self.draw
        level = 50 + truth + own + drawn + generator.normal(0, 2, (1, n, 1, 1))
        seen = self.noise(generator, (starts, n, 1, 1)) * self.images
        validation, test = (
            self._read(level + more + self.noise(generator, (starts, n, j, self.rates)) * self.run)
            for more in (0.0, seen)
        )
        runs = Accuracies(
            epochs=np.arange(1, starts + 1),
            seeds=tuple(range(n)),
            draws=tuple(range(j)),
            learning_rates=tuple(0.1 * 2.0**k for k in range(self.rates)),
            source_best=np.full(n, starts),
            validation=np.concatenate([validation, validation[-1:]]),
            test=np.concatenate([test, test[-1:]]),
        )
        return with_shared_draws(runs) if self.shared_draws else runs

    def _read(self, points: Array) -> Array:
        read = np.round(points / self.step) * self.step if self.step else points
        return read.clip(0, 100) / 100


def cells() -> Iterator[Cell]:
    """Yield all cells of the table."""
    null = Cell("null, own draws")
    for spread in (0.0, 1.0, 2.0):
        yield replace(null, name=f"null, own draws, SD {spread:g}", draw=spread)
        yield replace(
            null,
            name=f"null, 6 shared draws, SD {spread:g}",
            draw=spread,
            draws=6,
            shared_draws=True,
        )
    yield replace(
        null, name="null, one own draw, SD 2, 12 networks", draws=1, draw=2.0, networks=12
    )
    yield replace(null, name="null, 15 starts", gains=(0.0,) * 15)
    yield replace(null, name="null, 6 networks", networks=6)
    yield replace(null, name="null, heavy tails", noise=heavy, draw=1.0)
    yield replace(null, name="null, ties", step=1.0)
    yield replace(null, name="null, far worse starts", gains=(*FAR, *NONE[:4]))
    yield replace(null, name="null, own test images, SD 1", images=1.0)
    yield replace(null, name="null, three rates tuned", rates=3)
    power = Cell("power +2, far worse starts", gains=(*FAR, 2.0, 0.0), false=False)
    yield power
    yield replace(power, name="power +2, far worse starts, one own draw", draws=1)
    yield replace(power, name="power +2, one own draw, 10 networks", draws=1, networks=10)
    yield replace(power, name="power +2, no worse starts", gains=(2.0, *NONE[:4]))
    same = Cell("all 1 point worse", counted="equivalent", gains=(-1.0,) * 15, network=0.3, run=0.3)
    yield same
    yield replace(same, name="all 1 point better", gains=(1.0,) * 15)
    yield replace(same, name="all 1 point worse, wide", network=1.0, run=0.5)
    yield replace(same, name="half better, half worse", gains=(1.0, -1.0) * 7)
    yield replace(same, name="equal starts", gains=(0.0,) * 15, false=False)


def calibrate(cell: Cell, studies: int, seed: int = 0) -> dict[str, object]:
    """Return how often a cell's studies get its counted verdict, with what is allowed and covered."""
    generator = np.random.default_rng([seed, *cell.name.encode()])
    counted, covered = 0, 0
    for _ in range(studies):
        evidence = weigh(cell.study(generator))
        counted += decide(evidence, evidence.p_values).verdict == cell.counted
        gain = evidence.gains["earlier"]
        truth = cell.gains[gain.epoch - 1]
        covered += gain.interval.low <= truth <= gain.interval.high
    share = counted / studies
    allowed = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / studies)
    return {
        "cell": cell.name,
        "networks": cell.networks,
        "counted": cell.counted,
        "percent": 100 * share,
        "error": 100 * np.sqrt(share * (1 - share) / studies),
        "at most": 100 * allowed if cell.false else np.nan,
        "within": not cell.false or bool(share <= allowed),
        "interval covers": 100 * covered / studies,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=4000, help="of every cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for cell in cells():
        rows.append(calibrate(cell, options.studies, options.seed))
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.1f", na_rep="–"))


if __name__ == "__main__":
    main()
