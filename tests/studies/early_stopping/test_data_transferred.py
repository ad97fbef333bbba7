"""A start is worth the target images at which a planted curve from scratch reaches its accuracy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from headstart.studies.early_stopping.data_transferred import (
    data_transferred,
    equal_source_accuracy,
)
from headstart.studies.early_stopping.tables import tidy

SHOTS = (1, 5, 20)
NAMES = {"source": "latin", "target": "cyrillic", "arm": "finetune", "mode": "finetune"}


def accuracy_of(shots: float, slope: float = 0.1) -> float:
    """Return what scratch has from so many shots: linear in log shots."""
    return 0.2 + slope * math.log(shots)


def rows_of(
    starts: dict[tuple[int, int], float], seed: int, model: str = "net", rate: float = 0.1
) -> pd.DataFrame:
    """Return runs of one network: {(source epoch, shots): test accuracy}."""
    return pd.DataFrame(
        [
            dict(
                source_epoch=epoch, shots=str(shots), value=value, split=split, seed=seed,
                metric="accuracy_at_validation_best", draw=seed, learning_rate=rate, model=model, **NAMES,
            )
            for (epoch, shots), value in starts.items()
            for split in ("validation", "test")
        ]
    )  # fmt: skip


def source_of(
    accuracies: dict[int, float], best: int, seed: int, model: str = "net"
) -> pd.DataFrame:
    same = {"source": "latin", "target": "latin", "arm": "pretrain", "mode": "pretrain"}
    return pd.DataFrame(
        [
            dict(
                source_epoch=e,
                value=v,
                metric=m,
                split="validation",
                seed=seed,
                model=model,
                **same,
            )
            for e, accuracy in accuracies.items()
            for m, v in (("accuracy", accuracy), ("best", float(e == best)))
        ]
    )


def study(worth: list[float], slope: float = 0.1) -> pd.DataFrame:
    """Return runs of networks whose start at epoch 4, with 5 shots, is worth so many images."""
    parts = []
    for seed, shots in enumerate(worth):
        runs = {(0, n): accuracy_of(n, slope) for n in SHOTS} | {(4, 5): accuracy_of(shots, slope)}
        parts += [rows_of(runs, seed), source_of({0: 0.1, 4: 0.9}, 4, seed)]
    return tidy(parts)


def test_a_start_is_worth_the_images_at_which_scratch_reaches_it() -> None:
    table = data_transferred(study([7.3] * 9))
    assert list(table["start"]) == ["4", "source-best"]
    for row in table.itertuples():
        assert (row.shots, row.n, row.beyond) == ("5", 9, 0)
        assert row.worth == pytest.approx(7.3)
        assert (row.low, row.high) == (pytest.approx(7.3), pytest.approx(7.3))


def test_nothing_is_extrapolated_beyond_the_shots_that_were_run() -> None:
    above = data_transferred(study([6.0, 8.0, 10.0, *[50.0] * 6])).iloc[0]
    assert (above["worth"], above["high"], above["beyond"]) == (math.inf, math.inf, 6)
    assert above["low"] == pytest.approx(8.0)
    below = data_transferred(study([0.5] * 6)).iloc[0]
    assert (below["worth"], below["low"], below["high"], below["beyond"]) == (0, 0, 0, 6)


def test_the_interval_is_that_of_order_statistics() -> None:
    """Of nine networks the second smallest and largest bound the median at 96.1 %."""
    worth = [2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0]
    row = data_transferred(study(worth)).iloc[0]
    assert [row["low"], row["worth"], row["high"]] == pytest.approx([3.0, 7.0, 12.0])
    few = data_transferred(study(worth[:4])).iloc[0]
    assert math.isnan(few["low"])
    assert few["worth"] == pytest.approx(math.sqrt(3 * 4))
    assert few["reason"] == "4 networks are too few for an interval"


def test_the_interval_covers_a_planted_worth_in_noisy_runs() -> None:
    generator, covered = np.random.default_rng(0), 0
    for _ in range(100):
        worth = list(8 * np.exp(generator.normal(0, 0.3, 9)))
        row = data_transferred(study(worth)).iloc[0]
        covered += row["low"] <= 8 <= row["high"]
    assert covered >= 90


def test_scratch_with_one_number_of_shots_tells_nothing() -> None:
    table = study([7.3] * 6)
    assert data_transferred(table[table["shots"].isin(["5", ""])]).empty


def test_models_are_compared_where_their_source_accuracy_is_equal() -> None:
    """At equal source accuracy the constant rate is worth 3 points more, at its end 7 less."""
    parts = []
    for seed in range(6):
        noise = 0.001 * seed
        decayed = {(0, 5): 0.2, (2, 5): 0.40, (8, 5): 0.55 + noise}
        constant = {(0, 5): 0.2, (4, 5): 0.43, (30, 5): 0.48 + noise}
        parts += [
            rows_of(decayed, seed, "decayed"),
            source_of({0: 0.1, 2: 0.60, 8: 0.95}, 8, seed, "decayed"),
            rows_of(constant, seed, "constant"),
            source_of({0: 0.1, 4: 0.61, 30: 0.945}, 30, seed, "constant"),
        ]
    rows = [{**NAMES, "model": name, "network": "convnet"} for name in ("decayed", "constant")]
    settings = pd.DataFrame(rows)
    table = equal_source_accuracy(tidy(parts), settings)
    assert list(table["start"]) == ["4", "30", "source-best"]
    assert set(zip(table["model"], table["other"], strict=True)) == {("constant", "decayed")}
    assert table["difference"].to_numpy() == pytest.approx([3.0, -7.0, -7.0])
    assert list(table["n"]) == [6, 6, 6]
    apart = tidy([part[part["source_epoch"] != 2] for part in parts])
    assert list(equal_source_accuracy(apart, settings)["start"]) == ["30", "source-best"]
    other = settings.assign(network=["convnet", "vit"])
    assert equal_source_accuracy(tidy(parts), other).empty
