import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.statistics.hypotheses import holm

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_gives_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(probabilities)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(values):
    p = np.array(values)
    adjusted = holm(p)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1, p * len(p)) + 1e-15)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


def test_a_hypothesis_that_was_not_tested_does_not_count_in_holm():
    adjusted = holm([0.01, np.nan, 0.02])
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.02])


def test_p_values_outside_the_unit_interval_are_refused():
    with pytest.raises(ValueError, match="lie in"):
        holm([0.5, 1.5])
