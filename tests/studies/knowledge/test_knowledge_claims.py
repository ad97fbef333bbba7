"""What is said of each claim on knowledge, from tables whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from headstart.statistics.claim_results import ClaimResult
from headstart.studies.knowledge import claims
from headstart.studies.knowledge.gains import (
    gains_and_ratios,
    rank_correlation,
    ratio_explains_accuracy,
)
from headstart.studies.knowledge.tables import ComparedNetworks, main_init_epoch

NULLS = ("permuted", "other_image", "random_backbone")
Row = dict[str, object]


def row(metric: str, value: float, half: float = 0.01, **names: object) -> Row:
    base: Row = {"source": "s", "model": "m", "target": "t", "role": "finetuned", "seed": None}
    base |= {"init_epoch": "best", "source_epoch": 9.0, "target_epoch": None, "subset": "all"}
    base |= {"metric": metric, "order": None, "variant": "normalised", "condition": "measured"}
    return {**base, "value": value, "low": value - half, "high": value + half, **names}


def compared(*rows: Row) -> ComparedNetworks:
    return ComparedNetworks(pd.DataFrame(rows), "best")


def preserved(value: float, over: float, half: float = 0.01) -> ComparedNetworks:
    """Return a comparison with a preserved share, and how far it is over every null."""
    metric = "preserved_of_pretrained"
    over_nulls = [row(metric, over, condition=f"over_{null}") for null in NULLS]
    return compared(row(metric, value, half), *over_nulls)


def rising(metric: str, over: float, share: float = 0.7) -> ComparedNetworks:
    return compared(
        row(metric, share),
        row(f"{metric}_rise", 0.2),
        row(f"{metric}_rise", over, condition="over_permuted"),
    )


def exclusive(excess: float | None) -> ComparedNetworks:
    rows = [row("exclusivity", 0.35)]
    if excess is not None:
        rows.append(row("exclusivity", excess, condition="excess_permuted"))
    return compared(*rows)


def ways(speed: float, directness: float, drops: float) -> ComparedNetworks:
    """Return fine-tuned minus scratch, by so much over chance; as measured all favour fine-tuning."""
    metrics = ("speed_to_own_end", "directness", "stability_to_own_end")
    numbers = zip(metrics, (speed, directness, drops), (0.3, 0.3, -0.3), strict=True)
    return compared(
        *(
            row(metric, value, role="finetuned-scratch", condition=condition)
            for metric, over, measured in numbers
            for condition, value in (("over_permuted", over), ("measured", measured))
        )
    )


def explained(value: float, half: float = 0.01) -> ComparedNetworks:
    metric, networks = "explained_by_strongest_tenth", ("probe", "finetuned", "scratch")
    first = [row(metric, value, half, role=each, variant="raw") for each in networks]
    permuted = {"variant": "raw", "condition": "null_permuted_masks"}
    return compared(*first, *(row(metric, -2.0, role=each, **permuted) for each in networks))


@pytest.mark.parametrize(
    ("evaluate", "given", "status"),
    [
        (claims.little_survives, preserved(0.3, over=0.05), "supported"),
        (claims.little_survives, preserved(0.7, over=0.05), "contradicted"),
        (claims.little_survives, preserved(0.5, over=0.05), "undetermined"),
        (claims.little_survives, preserved(0.3, over=0.0), "undetermined"),
        (claims.little_survives, compared(row("similarity", 0.3)), "not measured here"),
        (claims.complex_is_discarded, rising("discarded_of_pretrained", 0.1), "supported"),
        (
            claims.complex_is_discarded,
            rising("discarded_of_pretrained", -0.1),
            "contradicted",
        ),
        (claims.complex_is_discarded, rising("discarded_of_pretrained", 0.0), "undetermined"),
        (claims.complex_is_new, rising("new_of_finetuned", 0.1), "supported"),
        (claims.complex_is_new, rising("new_of_finetuned", 0.1, share=0.3), "contradicted"),
        (claims.complex_is_new, rising("new_of_finetuned", -0.1), "contradicted"),
        (claims.complex_is_new, rising("new_of_finetuned", 0.1, share=0.5), "undetermined"),
        (claims.complex_is_new, rising("new_of_finetuned", 0.0), "undetermined"),
        (claims.scratch_finds_little, exclusive(0.1), "supported"),
        (claims.scratch_finds_little, exclusive(0.9), "contradicted"),
        (claims.scratch_finds_little, exclusive(0.5), "undetermined"),
        (claims.scratch_finds_little, exclusive(None), "undetermined"),
        (claims.finetuning_is_direct, ways(0.1, 0.1, -0.1), "supported"),
        (claims.finetuning_is_direct, ways(0.1, 0.1, 0.1), "contradicted"),
        (claims.finetuning_is_direct, ways(-0.1, 0.1, -0.1), "contradicted"),
        (claims.finetuning_is_direct, ways(0.1, 0.0, -0.1), "undetermined"),
        (claims.few_and_matching, explained(0.95), "supported"),
        (claims.few_and_matching, explained(0.5), "contradicted"),
        (claims.few_and_matching, explained(0.9), "undetermined"),
    ],
)
def test_a_claim_is_evaluated_by_where_its_interval_lies(
    evaluate: Callable[[ComparedNetworks], ClaimResult], given: ComparedNetworks, status: str
) -> None:
    assert evaluate(given).status == status


def test_a_share_without_an_interval_supports_and_contradicts_nothing() -> None:
    unknown = preserved(0.3, over=0.05, half=float("nan"))
    assert claims.little_survives(unknown).status == "undetermined"
    for value in (0.95, 0.5):
        found = claims.few_and_matching(explained(value, half=float("nan")))
        assert found.status == "undetermined"


def all_of(over: float) -> ComparedNetworks:
    """Return a comparison of which K1 to K5 say the same: supported for 0.1, contradicted for −0.1."""
    kept = 0.5 - 2 * over
    parts = (
        preserved(kept, over),
        rising("discarded_of_pretrained", over),
        rising("new_of_finetuned", over, share=0.5 + 2 * over),
        exclusive(0.5 - over),
        ways(over, over, -over),
    )
    return ComparedNetworks(pd.concat([part.table for part in parts], ignore_index=True), "best")


@pytest.mark.parametrize(
    ("comparisons", "status"),
    [
        ([all_of(0.1), all_of(0.1)], "supported"),
        ([all_of(0.1), all_of(-0.1)], "contradicted"),
        ([all_of(0.1), all_of(0.0)], "undetermined"),
        ([all_of(0.1)], "not measured here"),
    ],
)
def test_all_holds_everywhere_only_where_it_holds_in_every_comparison(
    comparisons: list[ComparedNetworks], status: str
) -> None:
    assert claims.holds_everywhere(comparisons).status == status


def gained(
    slope: float, noise: float = 0.0, seeds: int = 12, init_epochs: int = 3, level: float = 50.0
) -> pd.DataFrame:
    """Return two models whose accuracy over scratch changes by `slope` times the exclusivity ratio.

    The second model has more of both, `level` times as much of the gain; starts differ by a constant.
    """
    generator = np.random.default_rng(0)
    rows = []
    for number, model in enumerate("ab"):
        for seed in range(seeds):
            ratio = generator.uniform(0.2, 0.4)
            gain = slope * ratio + noise * generator.normal() + level * number
            same = {"model": model, "seed": seed, "variant": ""}
            ended = "accuracy_at_validation_best"
            rows.append(row(ended, 0.5, role="scratch", **{**same, "init_epoch": "0"}))
            for init_epoch in range(init_epochs):
                at = {**same, "init_epoch": str(init_epoch)}
                rows.append(row(ended, 0.5 + gain / 100 + init_epoch / 10, **at))
                ratios = {**at, "variant": "normalised"}
                rows.append(row("exclusivity", ratio + 0.2 * number + init_epoch / 10, **ratios))
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("slope", "noise", "status"),
    [(-50.0, 1.0, "supported"), (50.0, 1.0, "contradicted"), (0.0, 5.0, "undetermined")],
)
def test_accuracy_is_correlated_with_the_ratio_over_source_networks(
    slope: float, noise: float, status: str
) -> None:
    found = ratio_explains_accuracy(gained(slope, noise))
    assert found.status == status
    assert "24 source networks" in found.reason


def test_source_epochs_of_one_source_network_are_one_point() -> None:
    one, three = (
        gains_and_ratios(gained(-50, 1, init_epochs=init_epochs)) for init_epochs in (1, 3)
    )
    assert len(one) == len(three) == 24
    pd.testing.assert_frame_equal(one, three)


def test_models_that_differ_in_both_do_not_make_a_correlation() -> None:
    table = gained(0.0, noise=5.0, level=50.0)
    raw = table[table["metric"] == "exclusivity"].groupby("model")["value"].mean()
    assert raw["b"] > raw["a"] + 0.1
    rho, p = rank_correlation(gains_and_ratios(table))
    assert abs(rho) < 0.4
    assert p > 0.05


def test_the_permutation_keeps_its_level_where_blocks_differ() -> None:
    generator = np.random.default_rng(1)
    ps = []
    for _ in range(100):
        points = pd.DataFrame(generator.normal(size=(24, 2)), columns=["ratio", "gain"])
        names = {"source": "s", "model": [*"ab"] * 12, "seed": [*range(24)]}
        ps.append(rank_correlation(points.assign(**names), permutations=199)[1])
    assert 0.01 <= np.mean(np.array(ps) <= 0.05) <= 0.12


def test_a_source_network_without_another_beside_it_says_nothing_of_a_correlation() -> None:
    assert gains_and_ratios(gained(-50, seeds=1)).empty
    found = ratio_explains_accuracy(gained(-50, seeds=1))
    assert found.status == "undetermined"
    assert "needs 20 or more, here are 0" in found.reason


def test_claims_are_evaluated_at_the_best_source_epoch_or_the_last() -> None:
    rows = [
        row("similarity", 0.3, init_epoch=s, source_epoch=e) for s, e in (("1", 1.0), ("20", 20.0))
    ]
    assert main_init_epoch(pd.DataFrame(rows)) == "20"
    assert (
        main_init_epoch(pd.DataFrame([*rows, row("similarity", 0.3, source_epoch=4.0)])) == "best"
    )
