"""Ways to decode as a configuration writes them: `greedy`, `num_beams=5`, `temperature=0.7+top_p=0.9`."""

import dataclasses
import difflib
import typing
from typing import Any

from pvchat_jax.errors import UserError
from pvchat_jax.inference.options import DecodingOptions

GREEDY = "greedy"
_KINDS = {name: kind for name, kind in typing.get_type_hints(DecodingOptions).items() if kind in (int, float) and name != "seed"}


def read_decoding(text: str) -> dict[str, Any]:
    """Fields of `DecodingOptions` by name; those that `text` leaves out keep their defaults.

    Raises:
      UserError: an unknown field, a value of the wrong kind or out of its range.
    """
    if text == GREEDY:
        return {}
    values: dict[str, Any] = {}
    for part in text.split("+"):
        name, _, value = part.partition("=")
        if name not in _KINDS:
            near = difflib.get_close_matches(name, _KINDS, n=1, cutoff=0.0)[0]
            raise UserError(
                f"decoding {text!r} has {name!r}, did you mean {near}=...? Write '{GREEDY}', or settings such as num_beams=5 joined by '+'."
            )
        if name in values:
            raise UserError(f"decoding {text!r} gives {name} twice; leave one out.")
        try:
            values[name] = _KINDS[name](value)
        except ValueError:
            kind = "a whole number" if _KINDS[name] is int else "a number"
            raise UserError(f"decoding {text!r} gives {name} the value {value!r}; give {kind}.") from None
    DecodingOptions(**values)
    return values


def draws(values: dict[str, Any]) -> bool:
    """Whether another seed may give another answer."""
    return dataclasses.replace(DecodingOptions(), **values).temperature > 0
