"""Published values stand beside runs of their protocol, and of no other."""

from __future__ import annotations

import pandas as pd
import pytest
from preset_tables import preset_tables

from headstart.maintenance import presets
from headstart.plan import Plan
from headstart.registry import parse
from headstart.studies.early_stopping.protocol import COMPARED, published_beside, same_protocol
from headstart.studies.early_stopping.settings import PROTOCOLS, VALUES, settings

EXPERIMENTS = {
    "gutstein_cifar100": {"E1", "E1 second set", "E5", "E6 rate 0.1", "E6 rate 0.01"},
    "gutstein_mini": {"E2", "E3 mini", "E3 repeats"},
    "gutstein_caltech": {"E4"},
}


@pytest.mark.parametrize("preset", EXPERIMENTS)
def test_the_published_presets_have_the_protocol_of_their_experiments(preset: str) -> None:
    published = preset_tables(preset)["published"]
    assert set(published["experiment"]) == EXPERIMENTS[preset]


@pytest.mark.parametrize("preset", ["default", "smoke", "recommended", "folder"])
def test_no_other_preset_has_a_published_protocol(preset: str) -> None:
    tables = preset_tables(preset)
    assert not tables["measurements"].empty
    assert tables["published"].empty


def test_every_published_value_has_a_protocol_and_every_protocol_a_value() -> None:
    protocols, values = pd.read_csv(PROTOCOLS), pd.read_csv(VALUES)
    assert set(protocols["experiment"]) == set(values["experiment"])
    assert set(COMPARED) - {"shots"} <= set(protocols.columns)


def cifar() -> tuple[dict[str, object], dict[str, object]]:
    """Return one run of the main experiment and the experiment itself."""
    described = settings(
        Plan(parse(presets.read(presets.find("gutstein_cifar100")))).jobs("transfer")
    )
    run = described[described["arm"] == "finetune"].iloc[0].to_dict()
    protocols = pd.read_csv(PROTOCOLS).set_index("experiment", drop=False)
    run_names = {str(name): value for name, value in run.items()}
    published = {str(name): value for name, value in protocols.loc["E1"].to_dict().items()}
    return {**run_names, "shots": "10", "learning_rate": 0.1}, {**published, "shots": 10}


def test_equal_settings_are_the_same_protocol_whatever_tasks_and_models_are_called() -> None:
    run, published = cifar()
    assert same_protocol(run, published)
    assert same_protocol({**run, "source": "mine", "model": "big", "arm": "a"}, published)


@pytest.mark.parametrize("column", COMPARED)
def test_one_other_setting_is_another_protocol(column: str) -> None:
    run, published = cifar()
    assert not same_protocol({**run, column: "7"}, published)
    assert not same_protocol({n: v for n, v in run.items() if n != column}, published)


def test_values_of_other_shots_or_rates_stay_away() -> None:
    tables = preset_tables("gutstein_cifar100")
    table = tables["measurements"]
    few = table[(table["shots"] != "10") | table["draw"].isna()]
    beside = published_beside(tables["settings"], few, pd.read_csv(PROTOCOLS), pd.read_csv(VALUES))
    assert set(beside["shots"]) == {"1", "5", "25", "50"}
    assert set(beside["learning_rate"]) == {0.1}
