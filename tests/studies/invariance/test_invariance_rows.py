"""Planted networks, inverted by descent and compared as the study does it: C, its controls, and claim I9."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from headstart.metrics.representations.comparison import Comparison, Stir, measured
from headstart.metrics.representations.half_samples import FEWEST, half_samples
from headstart.metrics.representations.inversion import InversionOptimizer, invert, seed_images
from headstart.metrics.representations.stir import TargetGrams, target_grams
from headstart.networks.network import every_block, late_blocks_replaced, truncated
from headstart.statistics.measurements import MEASURED, select
from headstart.studies.invariance.columns import MEASUREMENTS, null
from headstart.studies.invariance.layer_claims import compression
from headstart.studies.invariance.network_tables import Networks
from headstart.studies.invariance.params import Invariance
from headstart.studies.invariance.rows import NOT_IDENTIFIABLE, Rows
from headstart.studies.invariance.subject import Convergence

PIXELS, IMAGES = 40, 60
KEPT = (34, 28, 22, 16, 10)  # directions of the image that each block of pt still passes on
SHORTENED = (34, 28, 16, 10, 4)  # the third block deleted, its successors moved up
DELETED = 3
LAYERS = range(1, len(KEPT) + 1)
OPTIMIZER = InversionOptimizer(60, 0.1, "adam", decay=True)
OPTIONS = Invariance(arms=("finetune",), resamples=20)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(kept: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """Blocks that project on fewer and fewer of the same directions."""
    basis = torch.linalg.qr(torch.randn(PIXELS, PIXELS, generator=seeded(seed))).Q.double()
    blocks = []
    for count in kept:
        linear = nn.Linear(PIXELS, PIXELS, bias=False).double()
        linear.weight.data = basis[:, :count] @ basis[:, :count].T
        blocks.append(nn.Sequential(nn.Flatten(), linear))
    return nn.Sequential(*blocks).eval().requires_grad_(False)


def pictures() -> Tensor:
    return torch.rand(IMAGES, 1, 5, 8, generator=seeded(1), dtype=torch.float64)


def inverted(reference: nn.Sequential) -> Tensor:
    seeds = seed_images(pictures(), "noise", seeded(2))
    blocks = [truncated(reference, block) for block in range(len(KEPT))]
    return torch.stack([invert(m, m(pictures()), seeds, OPTIMIZER).images for m in blocks])


class Planted:
    """pt, its inversions, its control, and rows of any network compared with it."""

    def __init__(self) -> None:
        self.pt, unrelated = network(KEPT), network(KEPT, seed=9)
        self.inverted = inverted(self.pt)
        self.of_pt = self.seen_by(self.pt)
        late = {n: late_blocks_replaced(self.pt, unrelated, n - 1) for n in LAYERS}
        self.controls = {"random": {first: self.seen_by(late[first]) for first in LAYERS}}

    def seen_by(self, target: nn.Module) -> TargetGrams:
        return target_grams(every_block(target), pictures()[None], self.inverted[None])

    def rows(self, ft: TargetGrams, images: Tensor | None = None) -> pd.DataFrame:
        """Return what the study would write, on some of the images; pt stands for the X′ of ft."""
        chosen = torch.arange(IMAGES) if images is None else images
        enough = len(chosen) >= FEWEST
        members = half_samples(len(chosen), seeded(0), OPTIONS.resamples) if enough else None

        def on(grams: TargetGrams) -> Stir:
            return measured([grams.subset(chosen)], members)

        of_pt, of_ft = on(self.of_pt), on(ft)
        pair = Comparison(of_pt, of_ft, of_pt, of_ft)
        controls = (
            (kind, first, on(grams))
            for kind, by_layer in self.controls.items()
            for first, grams in by_layer.items()
        )
        fine = dict.fromkeys(LAYERS, Convergence(1.0, 1.0, 0.0, None))
        made = Rows(pair, list(LAYERS), {"pt": fine, "ft": fine}, OPTIONS).complete(controls)
        return MEASUREMENTS.tidy(made).query("form == 'debiased'")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


def cells(table: pd.DataFrame, metric: str, condition: str = MEASURED) -> pd.DataFrame:
    rows = select(table, metric=metric, condition=condition)
    rows = rows[rows["layer"] < rows["reference_layer"]]
    return rows.set_index(["reference_layer", "layer"])


def test_a_deleted_block_is_excess_compression_where_it_was_and_not_in_the_control(
    planted: Planted,
) -> None:
    table = planted.rows(planted.seen_by(network(SHORTENED)))
    excess = cells(table, "excess_compression")
    moved = excess.index.get_level_values("layer") >= DELETED
    assert (excess.loc[moved, "low"] > 0.02).all()
    assert excess.loc[~moved, "value"].abs().max() < 1e-9
    beyond = cells(table, "excess_over_random")
    assert (beyond.loc[moved, "low"] > 0.02).all()
    assert cells(table, "excess_compression", null("random"))["value"].max() < 0.01


def test_without_fine_tuning_all_is_zero_and_nothing_lies_above_the_control(
    planted: Planted,
) -> None:
    table = planted.rows(planted.of_pt)
    for metric in ("forgetting", "learning"):
        assert table.loc[table["metric"] == metric, "value"].abs().max() == 0
    divergence = table[table["metric"] == "cka_divergence"]
    own = divergence[divergence["layer"] == divergence["reference_layer"]]
    assert own["value"].abs().max() < 1e-9
    excess = cells(table, "excess_compression")
    assert excess[["value", "low", "high"]].abs().to_numpy().max() == 0
    assert cells(table, "excess_over_random")["value"].max() <= 0
    expansion = table[
        (table["metric"] == "excess_compression") & (table["layer"] >= table["reference_layer"])
    ]
    assert set(expansion["reason"]) == {NOT_IDENTIFIABLE}
    assert expansion["value"].isna().all()


def claim_on(planted: Planted, ft: TargetGrams) -> Any:
    """Evaluate I9 on three source networks, which are thirds of the images here."""
    place = {"source": "s", "model": "m", "target": "t", "arm": "finetune", "source_epoch": 1,
             "target_seed": 0, "target_epoch": 1}  # fmt: skip
    does = {"mode": "finetune", "random_start": False, "kind": "noise"}
    parts = [
        planted.rows(ft, torch.arange(seed, IMAGES, 3)).assign(seed=seed, **place, **does)
        for seed in range(3)
    ]
    runs = pd.DataFrame([{**place, "seed": seed} for seed in range(3)])
    return compression(Networks(pd.concat(parts), runs, pd.DataFrame(), pd.DataFrame()))


def test_a_network_that_was_not_fine_tuned_neither_supports_nor_contradicts_compression(
    planted: Planted,
) -> None:
    found = claim_on(planted, planted.of_pt)
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.status == "undetermined"
    assert "without a control +0.000" in found.reason


def test_a_deleted_block_supports_compression_and_an_added_one_contradicts_it(
    planted: Planted,
) -> None:
    assert claim_on(planted, planted.seen_by(network(SHORTENED))).status == "supported"
    lengthened = network((34, 34, 28, 22, 16))
    assert claim_on(planted, planted.seen_by(lengthened)).status == "contradicted"


def test_fewer_than_eight_images_give_values_whose_missing_interval_has_a_reason(
    planted: Planted,
) -> None:
    table = planted.rows(planted.seen_by(network(SHORTENED)), torch.arange(6))
    measured = table[table["value"].notna()]
    assert measured["low"].isna().all()
    assert set(measured["reason"]) == {"no interval: half-samples need 8 images or more, found 6"}
