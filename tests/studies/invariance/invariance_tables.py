"""Tables of the invariance study with planted values, for statistics and figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from checkout import ROOT

from headstart.studies.invariance.columns import EMBEDDING, null

LAYERS, EPOCHS = 4, (1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21)
PLACE = {"study": "invariance", "source": "latin", "model": "vit", "target": "cyrillic", "source_epoch": 9,
         "target_seed": 0, "given_weights": False, "tokens": "class", "condition": "measured",
         "device": "cpu"}  # fmt: skip
ARMS = {"finetune": ("finetune", False), "reconstruct": ("reconstruct", False),
        "scratch": ("finetune", True)}  # fmt: skip
Plant = Callable[[str, int, int, int], float]
GRIDS = ("forgetting", "learning", "cka_divergence", "flow", "excess_compression", "excess_over_random",
         "excess_over_scratch", "excess_over_embedding", "stir_pt_given_pt", "stir_ft_given_ft")  # fmt: skip
# Biased CKA, and 1 in place of self-STIR; `measurements` puts it .01 above the measured form.
AS_PUBLISHED = {"forgetting": "forgetting_paper", "learning": "learning_paper",
                "cka_divergence": "cka_divergence"}  # fmt: skip


def published() -> pd.DataFrame:
    return pd.read_csv(ROOT / "published" / "invariance_figures.csv")


def noise(*names: object) -> float:
    seed = sum(ord(letter) * 31**i for i, letter in enumerate("-".join(map(str, names)))) % 2**31
    return float(np.random.default_rng(seed).normal(0, 0.004))


def default_value(arm: str, metric: str, reference: int, layer: int, epoch: int) -> float:
    """Return what was planted: reconstruction forgets early, scratch everything, fine-tuning late."""
    height = {"finetune": 0.1, "reconstruct": 0.5, "scratch": 0.7}[arm]
    if metric.startswith("stir"):
        return 0.99 if layer == reference else 0.6
    if metric.startswith(("flow", "excess")):
        return 0.05 if layer < reference else -0.05
    rise = 1 + layer / LAYERS if arm == "finetune" else 1.0
    bump = 1.5 if epoch == 5 and layer > LAYERS // 2 else 1.0
    first = 0.12 if layer == 1 else 0.0
    scale = {"forgetting": 1.0, "learning": 0.8, "cka_divergence": 0.2}[metric]
    return scale * (height * rise * bump * (1 - np.exp(-epoch)) + first)


def measurements(arms: tuple[str, ...] = tuple(ARMS), seeds: int = 3) -> pd.DataFrame:
    rows = []
    for arm in arms:
        mode, random = ARMS[arm]
        for seed in range(seeds):
            run = {**PLACE, "arm": arm, "mode": mode, "random_start": random, "seed": seed}
            for epoch in EPOCHS:
                end = epoch == EPOCHS[-1]
                for metric in GRIDS:
                    for reference in range(1, LAYERS + 1):
                        for layer in range(1, LAYERS + 1):
                            if not end and (layer != reference or metric not in GRIDS[:3]):
                                continue
                            if metric.startswith("excess") and layer >= reference:
                                value = float("nan")
                            else:
                                value = default_value(arm, metric, reference, layer, epoch)
                                value += noise(arm, seed, epoch, metric, reference, layer)
                            row = {**run, "target_epoch": epoch, "kind": "noise", "form": "debiased",
                                   "metric": metric, "reference_layer": reference, "layer": layer,
                                   "value": value, "low": value - 0.02, "high": value + 0.02, "n": 64,
                                   "reason": ""}  # fmt: skip
                            rows.append(row)
                            if metric == "forgetting" and end and layer == reference:
                                behind = {"condition": null(EMBEDDING), "first_replaced": 0}
                                rows.append({**row, **behind, "value": 0.02})
                            if metric in AS_PUBLISHED and layer == reference:
                                published_form = {
                                    "form": "biased",
                                    "metric": AS_PUBLISHED[metric],
                                }
                                rows.append({**row, **published_form, "value": value + 0.01})
                for layer in range(1, LAYERS + 1):
                    cell = {**run, "target_epoch": epoch, "reference_layer": layer, "layer": layer,
                            "low": np.nan, "high": np.nan, "n": 64, "reason": ""}  # fmt: skip
                    rows.append({**cell, "kind": "", "form": "", "metric": "subspace_similarity",
                                 "value": 1 - 0.01 * epoch * layer + noise(arm, seed, epoch, layer)})  # fmt: skip
                    for name in ("residual_pt", "pass_rate_pt", "residual_ft", "pass_rate_ft"):
                        value = 0.01 if "residual" in name else 1.0
                        rows.append(
                            {**cell, "kind": "noise", "form": "", "metric": name, "value": value}
                        )
    return pd.DataFrame(rows)


def robustness(arms: tuple[str, ...] = ("finetune", "scratch"), seeds: int = 3) -> pd.DataFrame:
    rows = []
    for arm in arms:
        mode, random = ARMS[arm]
        for seed in range(seeds):
            run = {**PLACE, "arm": arm, "mode": mode, "random_start": random, "seed": seed}
            for epoch in EPOCHS:
                for severity in range(6):
                    value = (
                        0.8 * (1 - np.exp(-epoch))
                        - 0.08 * severity
                        + noise(arm, seed, epoch, severity)
                    )
                    name = "fog" if severity else "clean"
                    rows.append({**run, "target_epoch": epoch, "corruption": name, "severity": severity,
                                 "value": value, "n": 50})  # fmt: skip
    return pd.DataFrame(rows)


def runs(arms: tuple[str, ...] = tuple(ARMS), seeds: int = 3) -> pd.DataFrame:
    rows = [
        {**PLACE, "arm": arm, "mode": ARMS[arm][0], "random_start": ARMS[arm][1], "seed": seed,
         "target_epoch": EPOCHS[-1], "train_loss": 0.1, "validation_loss": 0.2, "train_accuracy": 0.9,
         "validation_accuracy": 0.8, "test_accuracy": 0.8, "images": 64, "inversion_seeds": 2, "layers": LAYERS,
         "broken_pt": 0.0, "broken_ft": 0.25}
        for arm in arms
        for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def residuals(arms: tuple[str, ...] = tuple(ARMS), seeds: int = 3) -> pd.DataFrame:
    rows = [
        {**PLACE, "arm": arm, "mode": ARMS[arm][0], "random_start": ARMS[arm][1], "seed": seed,
         "network": network, "kind": "noise", "form": "debiased", "inversion_seed": 0, "layer": layer,
         "group": group, "residual": 0.01 * (group + 1), "value": 0.99 - 0.01 * group, "n": 16, "reason": ""}
        for arm in arms for seed in range(seeds) for network in ("pt", "ft")
        for layer in range(1, LAYERS + 1) for group in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def second_model(table: pd.DataFrame, factor: float = 1.0) -> pd.DataFrame:
    """Return a table of one model with the same runs, seeds and arms of another below it.

    The other starts from given weights, and all its values are `factor` times those of the first.
    """
    other = table.assign(source="photos", model="imagenet", given_weights=True)
    for name in {"value", "low", "high"} & set(table.columns):
        other[name] = factor * other[name]
    return pd.concat([table, other], ignore_index=True)
