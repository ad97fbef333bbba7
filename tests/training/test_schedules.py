import pytest

from headstart.params.recipe import Schedule
from headstart.training.rules import learning_rate

PUBLISHED = Schedule(name="step", drops=(60, 120, 160), factor=0.2)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.1), (59, 0.1), (60, 0.02), (119, 0.02), (120, 0.004), (159, 0.004), (160, 0.0008)],
)
def test_the_published_schedule_drops_at_its_epochs(epoch: int, rate: float) -> None:
    for part in (0.0, 0.5, 0.999):
        assert learning_rate(PUBLISHED, 0.1, epoch + part, 200) == pytest.approx(rate, rel=1e-12)


def test_a_constant_schedule_is_its_rate() -> None:
    assert {learning_rate(Schedule(), 0.3, epoch, 9) for epoch in range(9)} == {0.3}


def test_cosine_starts_at_its_rate_passes_half_of_it_midway_and_ends_at_zero() -> None:
    cosine = Schedule(name="cosine")
    rates = [learning_rate(cosine, 0.2, epoch, 10) for epoch in (0, 5, 10)]
    assert rates == pytest.approx([0.2, 0.1, 0.0], abs=1e-12)


@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
def test_warm_up_rises_linearly_from_zero_to_the_rate(name: str) -> None:
    schedule = Schedule(name=name, warmup_epochs=4, drops=(6,))  # type: ignore[arg-type]
    rates = [learning_rate(schedule, 0.2, epoch, 10) for epoch in (0, 1, 2.5, 4)]
    assert rates == pytest.approx([0.0, 0.05, 0.125, 0.2])


def test_cosine_falls_over_what_warm_up_leaves() -> None:
    schedule = Schedule(name="cosine", warmup_epochs=2)
    assert learning_rate(schedule, 1.0, 6, 10) == pytest.approx(0.5)
    # Params refuse a warm-up that leaves the cosine no epoch; by itself, it rises.
    only_warmup = Schedule(name="cosine", warmup_epochs=4)
    assert learning_rate(only_warmup, 1.0, 2, 4) == pytest.approx(0.5)
