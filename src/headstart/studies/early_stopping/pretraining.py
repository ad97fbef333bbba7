"""What pre-training is worth: the best pretrained start against training from scratch, both tuned by validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from headstart.statistics.claim_results import ClaimResult, Status, bounded
from headstart.statistics.errors import TableError, UndecidableError
from headstart.statistics.hypotheses import ALPHA
from headstart.statistics.permutation import p_mean_negative
from headstart.statistics.words import format_interval, pluralize
from headstart.studies.early_stopping.data_transferred import SOURCE_BEST
from headstart.studies.early_stopping.settings import scratch_model
from headstart.studies.early_stopping.verdicts.accuracies import Accuracies
from headstart.studies.early_stopping.verdicts.comparable import comparable
from headstart.studies.early_stopping.verdicts.evidence import edge_flag
from headstart.studies.early_stopping.verdicts.gains import POINTS, Gain, gain_of
from headstart.studies.early_stopping.verdicts.run_tables import arms_as_modes, contrasts
from headstart.studies.early_stopping.verdicts.selection import (
    at_learning_rate,
    differences,
    tune_learning_rate,
)
from headstart.studies.early_stopping.verdicts.source_networks import AT_CHANCE
from headstart.studies.early_stopping.verdicts.text import detectable_words

CONTRAST = ["source", "model", "target", "arm", "shots"]
COLUMNS = [*CONTRAST, "start", "status", "gain", "low", "high", "n", "worth", "flags", "reason"]


@dataclass(frozen=True)
class ScratchGain:
    """The gain of the start that validation prefers over training from scratch.

    `start` is a source epoch or source-best; `gain` has the interval that pays for its choice;
    `p_worse` belongs to "every pretrained start is worse"; `flags` say which rates to add.
    """

    start: str
    gain: Gain
    p_worse: float
    flags: tuple[str, ...]


def gain_over_scratch(
    runs: Accuracies, seed: int = 0, scratch: Accuracies | None = None
) -> ScratchGain | None:
    """Return the gain at tuned rates; None where nothing was trained from scratch.

    It is the gain of `gain_of` with scratch in place of source-best, which becomes one more candidate.
    Scratch is epoch 0 of the runs, or where that is a given network, of those in `scratch`.

    Raises:
        UndecidableError: `scratch` has other seeds, draws or learning rates.
    """
    other = scratch if runs.given else runs
    place = np.flatnonzero(other.epochs == 0) if other else np.array([], dtype=int)
    only_scratch = not runs.given and not runs.epochs.any() and not runs.source_best.any()
    if other is None or not len(place) or only_scratch:
        return None
    for name in ("seeds", "draws", "learning_rates"):
        if getattr(runs, name) != getattr(other, name):
            raise UndecidableError(f"runs from scratch have other {name.replace('_', ' ')}")
    test = np.concatenate([runs.test, other.test[place]])
    held = np.concatenate([runs.validation, other.validation[place]])
    behind = int(runs.epochs.max()) + 1
    networks = np.full(len(runs.seeds), behind + 1)
    epochs = np.append(runs.epochs, behind)
    compared = replace(runs, test=test, validation=held, epochs=epochs, source_best=networks)
    rates = tune_learning_rate(held)
    gain = gain_of(compared, rates, "earlier", seed)
    if gain is None:
        return None
    tuned = at_learning_rate(test, rates) * POINTS
    gaps = differences(tuned, epochs, networks, "earlier", runs.first_start)[1]
    gaps = compared.by_unit(gaps)
    worse = np.nan if runs.shared_draws else float(p_mean_negative(gaps, seed).max())
    start = SOURCE_BEST if gain.epoch == behind else str(gain.epoch)
    places = {len(epochs): "scratch", int(np.searchsorted(epochs, gain.epoch)): _name(start, runs)}
    flags = edge_flag(compared, rates, places)
    if len(runs.learning_rates) == 1:
        flags = ["one-learning-rate: neither scratch nor the start was tuned"]
    nothing = [flag for flag in runs.flags if flag.startswith(AT_CHANCE)]
    return ScratchGain(start, gain, worse, (*nothing, *flags))


def pretraining_helps(
    runs: Accuracies,
    transferred: Mapping[str, str],
    seed: int = 0,
    scratch: Accuracies | None = None,
) -> ClaimResult:
    """C0: is the best pretrained start better than training from scratch, or are all worse?

    `transferred` says in words what each start is worth in target images; `scratch` as in `gain_over_scratch`.
    """
    return _result(gain_over_scratch(runs, seed, scratch), runs, transferred)


def _result(
    found: ScratchGain | None, runs: Accuracies, transferred: Mapping[str, str]
) -> ClaimResult:
    if found is None:
        given = " is the given network: a second model of it without `weights` would be"
        reason = f"Nothing was trained from scratch (source epoch 0{given if runs.given else ''})."
        return ClaimResult("not measured here", reason)
    gain = found.gain
    numbers = format_interval(
        gain.effect, gain.interval.low, gain.interval.high, signed=True, unit="points"
    )
    p = "" if math.isnan(gain.p) else f"p = {gain.p:.3g}, "
    words = [
        f"The start that validation prefers, {_name(found.start, runs)}, is {numbers} from training from scratch, each at "
        f"the rate that validation prefers ({p}{pluralize(len(runs.seeds), 'network')})."
    ]
    if runs.given and not runs.epochs.any():
        words.append("Every source network is the given one: this speaks of it alone.")
    if worth := transferred.get(found.start):
        words.append(f"It is worth {worth}.")
    status: Status = "undetermined"
    if causes := runs.undecidable:
        words.append(f"Not decided, because {' and '.join(causes)}.")
    elif gain.p <= ALPHA:
        status = "supported"
    elif found.p_worse <= ALPHA:
        status = "contradicted"
        words.append("Every pretrained start is worse.")
    else:
        words.append(detectable_words(gain.detectable))
    words += [f"Beware: {flag}." for flag in found.flags]
    return bounded(status, " ".join(words), gain.interval)


def _name(start: str, runs: Accuracies) -> str:
    if start == "0" and runs.given:
        return "the given network"
    return start if start == SOURCE_BEST else f"epoch {start}"


def of_scratch(
    table: pd.DataFrame, contrast: Mapping[str, object], settings: pd.DataFrame
) -> Accuracies | None:
    """Return the runs of the same network without its given weights, where the study has such a model."""
    model = scratch_model(settings, _by_arm(contrast))
    other = {**contrast, "model": model}
    return comparable(table, other) if model and other in contrasts(table) else None


def _by_arm(contrast: Mapping[str, object]) -> dict[str, object]:
    """Return a contrast in the columns of the study's tables, where `arm` is what verdicts call the mode."""
    return {"arm" if name == "mode" else name: value for name, value in contrast.items()}


def worth_words(table: pd.DataFrame, contrast: Mapping[str, object]) -> dict[str, str]:
    """Return what each start of a contrast is worth, by its name, from `data_transferred`."""
    named = {name: str(value) for name, value in _by_arm(contrast).items()}
    rows = table[(table[CONTRAST].astype(str) == named).all(axis=1)]
    return {str(row["start"]): _worth(row) for row in rows.to_dict("records")}


def _worth(row: Mapping[Any, Any]) -> str:
    def shots(number: float) -> str:
        if math.isinf(number):
            return "more than were run"
        return f"{number:.1f}" if number else "fewer than were run"

    worth, low, high = (float(row[name]) for name in ("worth", "low", "high"))
    beyond = low == worth == high
    interval = "" if math.isnan(low) or beyond else f" [{shots(low)}, {shots(high)}]"
    words = f"{shots(worth)}{interval} target images per class of training from scratch"
    return f"{words} (median of {pluralize(int(row['n']), 'network')}; given: {row['shots']})"


def pretraining_table(
    measurements: pd.DataFrame,
    transferred: pd.DataFrame,
    seed: int = 0,
    settings: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return what pre-training is worth in every contrast with runs from scratch: C0 on each, uncorrected.

    `settings` tell which model trains the network of given weights from scratch.
    """
    table, rows = arms_as_modes(measurements), list[dict[str, object]]()
    for contrast in contrasts(table):
        named = _by_arm(contrast)
        try:
            runs = comparable(table, contrast)
            scratch = None
            if runs.given and settings is not None:
                scratch = of_scratch(table, contrast, settings)
            found = gain_over_scratch(runs, seed, scratch)
        except (TableError, UndecidableError) as error:
            texts = dict.fromkeys(("start", "worth", "flags"), "")
            reason = f"Not decided: {error}."
            rows.append({**named, **texts, "status": "undetermined", "reason": reason})
            continue
        if found is None:
            continue
        worth = worth_words(transferred, contrast)
        result = _result(found, runs, worth)
        numbers = {"gain": result.value, "low": result.low, "high": result.high}
        row: dict[str, object] = {**named, **numbers, "n": len(runs.seeds)}
        row |= {"start": found.start, "worth": worth.get(found.start, "")}
        row |= {"flags": "; ".join(found.flags), "status": result.status, "reason": result.reason}
        rows.append(row)
    types = dict.fromkeys(("gain", "low", "high"), "float64") | {"n": "Int64"}
    return pd.DataFrame(rows, columns=COLUMNS).astype(types)
