"""Names of slices."""

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.planning.topologies import CHIPS, parse_topology


@pytest.mark.parametrize(("name", "num_chips"), [("v5e:4x4", 16), ("v5p:2x2x1", 4), ("v4:2x2x2", 8), ("v6e:2x2", 4)])
def test_a_slice_has_its_chips(name: str, num_chips: int) -> None:
    topology = parse_topology(name)
    assert (topology.num_chips, topology.name) == (num_chips, name)


@pytest.mark.parametrize("name", ["v5e-16", "v9:2x2", "v5e", "v5e:4x", "v5e:0x4", ""])
def test_an_unknown_slice_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"there is no topology .* v4:\{.*v5e:\{.*4x4.*v5p:\{.*v6e:\{"):
        parse_topology(name)


def test_a_grid_of_other_dimensions_is_refused() -> None:
    with pytest.raises(UserError, match=r"'v5p:4x4' has 2 dimensions and v5p has 3"):
        parse_topology("v5p:4x4")


def test_the_examples_are_slices() -> None:
    for chip in CHIPS.values():
        for grid in chip.examples:
            assert parse_topology(f"{chip.name}:{grid}").chip is chip
