"""Judges say no to their own negative controls, and yes to what was planted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from headstart.metrics.interactions.subsets import AllSubsets
from headstart.metrics.interactions.transform import orders, walsh_values
from headstart.statistics.control_results import control_table
from headstart.steps.claims import read_claims
from headstart.studies.knowledge.controls import of_comparison, of_gains
from headstart.studies.knowledge.networks import Networks, Place, seeded
from headstart.studies.knowledge.params import Analysis

EPOCHS = (0, 1, 2, 3, 5, 8, 13, 21)
IMAGES, PLAYERS, SEEDS = 30, 6, 4
NEGATIVE = {
    "second run as pretrained": {"K1", "K2", "K3", "K7"},
    "fine-tuned plus noise as pretrained": {"K1", "K2", "K3"},
    "second run as scratch": {"K4"},
    "other source network as scratch": {"K4"},
    "scratch against scratch": {"K5"},
    "shuffled images": {"K1", "K2", "K3", "K4", "K5"},
    "scores permuted over masks": {"K8"},
}


NAMES = {name: claim.evaluated_by for name, claim in read_claims().of("knowledge").items()}


class Trained(Networks):
    """Networks that learn alike: all end at a common part, their source's and one of their run's."""

    def __init__(self) -> None:
        self.seeds, self.labels = list(range(SEEDS)), torch.arange(IMAGES) % 4
        self.players = torch.zeros(PLAYERS, 1, 1, dtype=torch.bool)
        self.roles = {"init_epochs": ["best"], "target_epochs": [*EPOCHS]}
        self.masks, self.subsets = None, AllSubsets(PLAYERS)
        self._replaced = {}

    def entry(self, place: Place) -> Mapping[str, Any]:
        return {"target_epoch": EPOCHS[-1]}

    def values(self, place: Place) -> Tensor:
        if place.role in self._replaced:
            found = self._replaced[place.role](place)
            assert found is not None
            return found
        time = place.epoch / EPOCHS[-1] if isinstance(place.epoch, int) else 1.0
        source = "pretrained" if place.role in ("probe", "finetuned", "second") else "scratch"
        parts = {"common": 0.5, f"{source}-{place.seed}": 0.6 * time**0.5}
        parts[f"{place.role}-{place.seed}-{place.epoch}"] = 0.6
        sizes = orders(PLAYERS)
        total = torch.zeros(IMAGES, len(sizes), dtype=torch.float64)
        for name, weight in parts.items():
            drawn = torch.randn(IMAGES, len(sizes), generator=seeded("trained", name))
            total += weight * drawn.double() * 0.6**sizes
        return walsh_values(total)


@pytest.fixture(scope="module", params=[("walsh", 200), ("normalised", 40)], ids=lambda p: p[0])
def table(request: pytest.FixtureRequest) -> pd.DataFrame:
    headline, repeats = request.param
    options = Analysis(headline=headline, permutations=4)
    found = of_comparison("networks", Trained(), options, repeats)
    return control_table("knowledge", [*found, *of_gains(repeats)])


def test_no_claim_is_supported_on_its_negative_controls(table: pd.DataFrame) -> None:
    found = table[table["kind"] == "negative"]
    rest = found[found["judge"] != NAMES["K6"]]
    by_control = rest.groupby("control")["judge"].agg(set).to_dict()
    assert by_control == {key: {NAMES[name] for name in names} for key, names in NEGATIVE.items()}
    assert found["passes"].all()
    assert (found["supported"] <= 0.05).all(), found[found["supported"] > 0.05]


def test_every_claim_is_supported_where_its_effect_is_planted(table: pd.DataFrame) -> None:
    found = table[table["kind"] == "planted"]
    assert set(found["judge"]) == set(NAMES.values())
    assert found["passes"].all()
    assert (found["supported"] >= 0.8).all(), found[found["supported"] < 0.8]
