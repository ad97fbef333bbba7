"""Do the dynamics of learning and forgetting follow robustness? Correlations between epoch series.

At every epoch of a run each layer has a learning and a forgetting value (arrays "epochs layers",
layers in order); an aggregate over a subset of layers gives one series per run, which is correlated
with robustness, the accuracy under corruption averaged over severities (arXiv 2307.06006, appendix
E). Such series drift: their epochs are not independent observations and the usual p-value means
little. The tests here shift one series in time against the other, look at differences, and choose
the aggregate on other runs than the one on which it is evaluated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

STATISTICS: dict[str, Callable[..., ndarray]]
STATISTICS = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
KEYS = ["series", "first_layer", "last_layer", "statistic"]


def pearson(x: Float[ndarray, " epochs"], y: Float[ndarray, " epochs"]) -> float:
    """Return Pearson's r; NaN for fewer than 3 epochs or a series that does not change."""
    if len(x) < 3:
        return float("nan")
    return float(_correlations(x[:, None], y[:, None])[0, 0])


def undefined_correlation(x: Float[ndarray, " epochs"], y: Float[ndarray, " epochs"]) -> str:
    """Return why `pearson` is NaN, in words; empty where it is defined."""
    if len(x) < 3:
        return f"{len(x)} values, fewer than 3"
    missing = int((~(np.isfinite(x) & np.isfinite(y))).sum())
    if missing:
        return f"undefined at {missing} of {len(x)} epochs"
    return "" if np.isfinite(pearson(x, y)) else "a series that does not change"


def _correlations(xs: ndarray, ys: ndarray) -> ndarray:
    """Return r of every column of xs with every column of ys; NaN for constant columns."""
    return _standardized(xs).T @ _standardized(ys)


def _standardized(columns: ndarray) -> ndarray:
    """Return columns with mean zero and length one; NaN where nothing but rounding varies."""
    deviations = columns - columns.mean(axis=0)
    lengths = np.linalg.norm(deviations, axis=0)
    rounding = 1e-12 * np.linalg.norm(columns, axis=0)
    return np.divide(deviations, np.where(lengths > rounding, lengths, np.nan))


def layer_subsets(layers: int) -> list[tuple[int, int]]:
    """Return proper prefixes 1–k and proper suffixes k–L as (first, last), counted from 1.

    11 + 11 for 12 layers. The paper counts 352 hypotheses but not the subsets: an assumption.
    """
    prefixes = [(1, last) for last in range(1, layers)]
    return prefixes + [(first, layers) for first in range(2, layers + 1)]


def aggregates(
    learning: Float[ndarray, "epochs layers"],
    forgetting: Float[ndarray, "epochs layers"],
) -> pd.DataFrame:
    """Return all aggregate series: one row per epoch, one column per hypothesis (352 for 12 layers).

    Columns have the levels series (sum, difference, learning, forgetting), first_layer,
    last_layer, statistic (mean, std, min, max).
    """
    series = {
        "sum": learning + forgetting,
        "difference": learning - forgetting,
        "learning": learning,
        "forgetting": forgetting,
    }
    columns = {
        (name, first, last, statistic): reduce(values[:, first - 1 : last], axis=1)
        for name, values in series.items()
        for first, last in layer_subsets(values.shape[1])
        for statistic, reduce in STATISTICS.items()
    }
    table = pd.DataFrame(columns)
    return table.set_axis(pd.MultiIndex.from_tuples(columns, names=KEYS), axis=1)


def circular_shift_p(x: Float[ndarray, " epochs"], y: Float[ndarray, " epochs"]) -> float:
    """Return the share of circular shifts in time of y (0 included) whose |r| with x is as large as that of 0.

    Shifts keep the autocorrelation of both series; the smallest possible p is 1 / epochs. They
    take both for stationary: two series that merely start with a transient, as most do in training,
    agree best unshifted and get a small p. r without the first epochs, and of changes, tells such a
    common start from a lasting relation. NaN for series that do not change.
    """
    null = np.abs(_correlations(x[:, None], _shifts(y))[0])
    return float("nan") if np.isnan(null[0]) else float(np.mean(null >= null[0] - 1e-12))


def _shifts(y: ndarray) -> ndarray:
    """Return all circular shifts as columns, the unshifted series first."""
    return np.stack([np.roll(y, shift) for shift in range(len(y))], axis=1)


def search(table: pd.DataFrame, robustness: Float[ndarray, " epochs"]) -> pd.DataFrame:
    """Correlate every aggregate with robustness, and show what choosing the best one does to p.

    Returns one row per aggregate, largest r first: its keys, r, and four p-values. `p_independent`
    takes epochs for independent (Student's t); `p_bonferroni` multiplies it by the number of
    aggregates; `p_shift` is the circular shift test; `p_selected` is the share of shifts at which
    the *best* aggregate has at least this |r|, so it holds for the winner of the search.
    Aggregates that do not change, such as the std of one layer, are NaN and come last, with that
    `reason`.
    """
    null = np.abs(_correlations(table.to_numpy(), _shifts(robustness)))
    r = _correlations(table.to_numpy(), robustness[:, None])[:, 0]
    best = np.nan_to_num(null, nan=-1.0).max(axis=0)
    reached = np.abs(r)[:, None] - 1e-12
    result = table.columns.to_frame(index=False).assign(r=r)
    freedom = len(robustness) - 2
    t = np.abs(r) * np.sqrt(freedom / np.maximum(1 - r**2, 1e-300))
    result["p_independent"] = 2 * stats.t.sf(t, freedom)
    result["p_bonferroni"] = np.minimum(1, result["p_independent"] * len(r))
    result["p_shift"] = np.where(np.isnan(r), np.nan, (null >= reached).mean(axis=1))
    result["p_selected"] = np.where(np.isnan(r), np.nan, (best >= reached).mean(axis=1))
    result["reason"] = np.where(np.isnan(r), "a series that does not change", "")
    return result.sort_values("r", ascending=False, na_position="last", ignore_index=True)


def prefix_correlations(
    x: Float[ndarray, " epochs"], y: Float[ndarray, " epochs"], lengths: Sequence[int]
) -> pd.DataFrame:
    """Return r over the first epochs only, for each length (the paper, figure 14): `epochs`, `r`.

    All prefixes share the first epochs: this cannot tell one initial transient from more.
    """
    return pd.DataFrame(
        {"epochs": list(lengths), "r": [pearson(x[:length], y[:length]) for length in lengths]}
    )


def held_out_selection(
    tables: Mapping[str, pd.DataFrame], robustness: Mapping[str, Float[ndarray, " _"]]
) -> pd.DataFrame:
    """Choose the aggregate on all runs but one, then correlate it in the run left out.

    The choice is the aggregate with the largest mean r (Fisher's z) over the other runs. Returns
    one row per run: `held_out`, the keys of the chosen aggregate, `r_selection` (mean over the runs
    that chose), `r_held_out`, and `r_best`, the largest r that the held-out run itself offers. The
    gap between r_best and r_held_out is what selection adds.

    Raises:
        ValueError: fewer than two runs, or no aggregate that changes in all others.
    """
    if len(tables) < 2:
        raise ValueError(f"held-out selection needs at least 2 runs, found {len(tables)}")
    r = {
        run: pd.Series(
            _correlations(table.to_numpy(), robustness[run][:, None])[:, 0], table.columns
        )
        for run, table in tables.items()
    }
    return pd.DataFrame(_selections(pd.DataFrame(r)))


def _selections(r: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Return one row per held-out run, from r of every aggregate (rows) in every run (columns)."""
    for run in r.columns:
        others = r.drop(columns=run).to_numpy().clip(-1 + 1e-12, 1 - 1e-12)
        z = np.arctanh(others).mean(axis=1)
        if np.isnan(z).all():
            raise ValueError(f"no aggregate is defined in all runs but {run}: some never change")
        chosen = int(np.nanargmax(z))
        yield {
            "held_out": run,
            **dict(zip(KEYS, r.index[chosen], strict=True)),
            "r_selection": float(np.tanh(z[chosen])),
            "r_held_out": float(r[run].iloc[chosen]),
            "r_best": float(r[run].max()),
        }
