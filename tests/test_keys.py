"""Keys: equal work has an equal name, and nothing else has."""

from hypothesis import given
from hypothesis import strategies as st

from headstart.artifacts.keys import Job, canonical_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_the_order_of_entries_does_not_change_a_key(params: dict) -> None:
    backwards = dict(reversed(params.items()))
    assert (
        Job("data", "x", "1", params=params).full_key
        == Job("data", "x", "1", params=backwards).full_key
    )


def test_wildcards_are_strings_whatever_they_came_as() -> None:
    number, text = (Job("pretrain", "x", "1", wildcards={"seed": seed}) for seed in (3, "3"))
    assert number.full_key == text.full_key


def test_step_code_params_wildcards_and_inputs_each_change_the_key() -> None:
    source, other = Job("data", "a", "1"), Job("data", "b", "2")
    keys = {
        Job("pretrain", "x", "1").full_key,
        Job("transfer", "x", "1").full_key,
        Job("pretrain", "x", "2").full_key,
        Job("pretrain", "x", "1", params={"a": 1}).full_key,
        Job("pretrain", "x", "1", wildcards={"seed": "0"}).full_key,
        Job("pretrain", "x", "1", inputs={"data": (source,)}).full_key,
        Job("pretrain", "x", "1", inputs={"data": (other,)}).full_key,
        Job("pretrain", "x", "1", inputs={"other": (source,)}).full_key,
    }
    assert len(keys) == 8


def test_the_readable_name_and_jobs_that_only_come_before_do_not_change_the_key() -> None:
    plain = Job("pretrain", "x", "1")
    assert (
        Job("pretrain", "renamed", "1", after=(Job("check", "study", "1"),)).full_key
        == plain.full_key
    )


def test_the_path_shows_the_step_the_name_and_twelve_digits() -> None:
    job = Job("pretrain", "latin-convnet-seed0", "1")
    assert (
        job.manifest.as_posix()
        == f"results/pretrain/latin-convnet-seed0-{job.full_key[:12]}/manifest.json"
    )


def test_numbers_keep_all_their_digits() -> None:
    assert (
        canonical_json({"b": 0.1 + 0.2, "a": [1, 1.0]}) == '{"a":[1,1.0],"b":0.30000000000000004}'
    )
