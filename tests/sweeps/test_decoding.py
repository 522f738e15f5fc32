"""Ways to decode as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.errors import UserError
from pvchat_jax.sweeps.decoding import GREEDY, draws, read_decoding

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "max_new_tokens": st.integers(1, 999),
        "temperature": st.floats(0, 10, allow_nan=False),
        "top_k": st.integers(0, 99),
        "top_p": st.floats(0.01, 1),
        "length_penalty": st.floats(-5, 5, allow_nan=False),
    },
)


def written(values: dict) -> str:
    """What `read_decoding` turns into `values`."""
    return "+".join(f"{name}={value!r}" for name, value in values.items()) or GREEDY


@given(VALUES)
def test_what_is_written_is_read(values: dict) -> None:
    assert read_decoding(written(values)) == values


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_or_explained(text: str) -> None:
    try:
        assert read_decoding(text) == read_decoding(written(read_decoding(text)))
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beams=5", "did you mean num_beams="),
        ("num_beams=many", "give a whole number"),
        ("top_p=1.5", "at most 1"),
        ("num_beams=5+num_beams=4", "twice"),
        ("num_beams=2+temperature=0.5", "set one only"),
        ("", "did you mean"),
    ],
)
def test_mistakes_are_explained(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_decoding(text)


def test_only_a_temperature_draws() -> None:
    assert [draws(read_decoding(text)) for text in ("greedy", "num_beams=5", "temperature=0.7+top_p=0.9")] == [False, False, True]
