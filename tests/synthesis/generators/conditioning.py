"""What a model inside a pipeline was given: random weights hardly react to a person, so tests look at the inputs."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def inputs_of(model: Any) -> Iterator[list[dict[str, Any]]]:
    """The keyword arguments of every call of a torch module inside the block."""
    calls: list[dict[str, Any]] = []
    handle = model.register_forward_pre_hook(lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()
