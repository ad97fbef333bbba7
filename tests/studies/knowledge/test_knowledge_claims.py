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

Row = dict[str, object]


def row(metric: str, value: float, half: float = 0.01, **names: object) -> Row:
    base: Row = {"source": "s", "model": "m", "target": "t", "role": "finetuned", "seed": None}
    base |= {"init_epoch": "best", "source_epoch": 9.0, "target_epoch": None, "subset": "all"}
    base |= {"metric": metric, "order": None, "variant": "normalised", "condition": "measured"}
    return {**base, "value": value, "low": value - half, "high": value + half, **names}


def compared(*rows: Row) -> ComparedNetworks:
    return ComparedNetworks(pd.DataFrame(rows), "best")


def excess(metric: str, value: float | None, half: float = 0.01) -> list[Row]:
    """Return a share between a null and a ceiling; None: so near each other that nothing lies between."""
    conditions = {"measured": 0.3, "null_permuted": 0.2, "ceiling_second_run": 0.6}
    rows = [row(metric, each, condition=name) for name, each in conditions.items()]
    room = row(metric, 0.04 if value is None else 0.4, condition="room_permuted")
    found = np.nan if value is None else value
    return [*rows, room, row(metric, found, half, condition="excess_permuted")]


def preserved(value: float | None, half: float = 0.01) -> ComparedNetworks:
    return compared(*excess("preserved_of_pretrained", value, half))


def rising(
    metric: str, over: float, complex_over: float = 0.1, share: float = 0.2, room: float = 0.2
) -> ComparedNetworks:
    """Return a share that rises by `over` more than between two runs, its complex part by so much larger."""
    beyond = {"condition": "over_second_run"}
    complex_share = f"{metric}_complex"
    return compared(
        *excess(metric, share),
        row(f"{metric}_rise", 0.2),
        row(f"{metric}_rise", over, **beyond),
        row(complex_share, complex_over, **beyond),
        row(complex_share, room, condition="room_permuted"),
        row(complex_share, 0.5 if room > 0.1 else np.nan, condition="excess_permuted"),
    )


def exclusive(value: float | None, other: float | None = -0.1) -> ComparedNetworks:
    """Return an exclusivity ratio, and how far it lies over that of another source network."""
    rows = excess("exclusivity", value)
    if other is not None:
        rows.append(row("exclusivity", other, condition="over_other_source"))
    return compared(*rows)


def ways(speed: float, directness: float, drops: float, unseen: float = 0.0) -> ComparedNetworks:
    """Return fine-tuned minus scratch, as measured and over chance alike."""
    metrics = ("progress_to_second_end", "directness", "stability_to_second_end")
    rows = [
        row(metric, value, role="finetuned-scratch", condition=condition)
        for metric, value in zip(metrics, (speed, directness, drops), strict=True)
        for condition in ("over_permuted", "measured")
    ]
    hidden = [
        row("interpolated_to_second_end", unseen / 2, role=role)
        for role in ("finetuned", "scratch")
    ]
    return compared(*rows, *hidden)


def explained(value: float, half: float = 0.01) -> ComparedNetworks:
    """Return what the strongest tenth of AND interactions explains; Walsh coefficients explain all."""
    metric, networks = "explained_by_strongest_tenth", ("probe", "finetuned", "scratch")
    first = [row(metric, value, half, role=each, variant="raw") for each in networks]
    permuted = {"variant": "raw", "condition": "null_permuted_masks"}
    walsh = [row(metric, 1.0, role=each, variant="walsh") for each in networks]
    return compared(*first, *(row(metric, 0.1, role=each, **permuted) for each in networks), *walsh)


DISCARDED, NEW = "discarded_of_pretrained", "new_of_finetuned"


@pytest.mark.parametrize(
    ("evaluate", "given", "status"),
    [
        (claims.little_survives, preserved(0.2), "supported"),
        (claims.little_survives, preserved(0.9), "contradicted"),
        (claims.little_survives, preserved(0.5), "undetermined"),
        (claims.little_survives, preserved(None), "undetermined"),
        (claims.little_survives, compared(row("similarity", 0.3)), "not measured here"),
        (claims.complex_is_discarded, rising(DISCARDED, 0.1), "supported"),
        (claims.complex_is_discarded, rising(DISCARDED, -0.1), "contradicted"),
        (claims.complex_is_discarded, rising(DISCARDED, 0.02), "undetermined"),
        # Noise loses the complex first, and yet less of it than a second run.
        (claims.complex_is_discarded, rising(DISCARDED, 0.1, complex_over=-0.1), "undetermined"),
        (claims.complex_is_discarded, rising(DISCARDED, 0.1, room=0.04), "undetermined"),
        (claims.complex_is_new, rising(NEW, 0.1), "supported"),
        (claims.complex_is_new, rising(NEW, 0.1, share=0.9), "contradicted"),
        (claims.complex_is_new, rising(NEW, -0.1), "contradicted"),
        (claims.complex_is_new, rising(NEW, 0.1, share=0.5), "undetermined"),
        (claims.complex_is_new, rising(NEW, 0.0), "undetermined"),
        (claims.complex_is_new, rising(NEW, 0.1, room=0.04), "undetermined"),
        (claims.scratch_finds_little, exclusive(0.1), "supported"),
        (claims.scratch_finds_little, exclusive(0.9), "contradicted"),
        (claims.scratch_finds_little, exclusive(0.5), "undetermined"),
        (claims.scratch_finds_little, exclusive(None), "undetermined"),
        (claims.scratch_finds_little, exclusive(0.1, other=-0.02), "undetermined"),
        (claims.scratch_finds_little, exclusive(0.1, other=0.1), "contradicted"),
        (claims.scratch_finds_little, exclusive(0.1, other=None), "undetermined"),
        (claims.finetuning_is_direct, ways(0.1, 0.1, -0.1), "supported"),
        (claims.finetuning_is_direct, ways(0.1, 0.1, -0.1, unseen=0.2), "undetermined"),
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


def test_a_range_too_narrow_for_a_verdict_is_said_with_its_width() -> None:
    assert (
        "no room between chance and ceiling: 4.0 points"
        in claims.little_survives(preserved(None)).reason
    )


def test_claims_are_evaluated_on_the_variant_that_leads() -> None:
    walsh = [{**each, "variant": "walsh"} for each in excess("preserved_of_pretrained", 0.2)]
    other = excess("preserved_of_pretrained", 0.9)
    headline = row("headline", 1.0, variant="walsh")
    assert claims.little_survives(compared(*walsh, *other, headline)).status == "supported"
    assert claims.little_survives(compared(*walsh, *other)).status == "contradicted"


def test_a_share_without_an_interval_supports_and_contradicts_nothing() -> None:
    unknown = preserved(0.2, half=float("nan"))
    assert claims.little_survives(unknown).status == "undetermined"
    for value in (0.95, 0.5):
        found = claims.few_and_matching(explained(value, half=float("nan")))
        assert found.status == "undetermined"


def all_of(over: float) -> ComparedNetworks:
    """Return a comparison of which K1 to K5 say the same: supported for 0.1, contradicted for −0.1."""
    parts = (
        preserved(0.5 - 2 * over),
        rising("discarded_of_pretrained", over),
        rising("new_of_finetuned", over, share=0.5 - 2 * over),
        exclusive(0.5 - over, other=-over),
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
