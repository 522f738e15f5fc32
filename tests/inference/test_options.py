import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.inference.options import DecodingOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0 and must be at least 1"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0 and must be above 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"length_penalty": float("inf")}, "length_penalty is inf"),
        ({"stop": ["</s>", ""]}, "stop is"),
        ({"seed": -1}, "seed is -1"),
        ({"num_beams": 5, "temperature": 1.0}, "set one only"),
    ],
)
def test_numbers_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DecodingOptions(**options)
