"""How clips of several people are put together."""

import pytest

from pvchat_jax.synthesis.joining.arranging import BESIDE, IN_TURN, arrangement_for


@pytest.mark.parametrize(
    ("widths", "num_panels", "expected"),
    [
        ([0.3] * 10, 3, BESIDE),
        ([0.3] * 9 + [0.9], 3, BESIDE),  # one face of ten may be cut
        ([0.3] * 8 + [0.4] * 2, 3, IN_TURN),
        ([0.4] * 10, 2, BESIDE),
        ([0.0] * 30 + [0.4] * 3, 3, IN_TURN),  # clips without a face do not count
        ([0.0], 3, BESIDE),
        ([], 2, BESIDE),
    ],
)
def test_faces_that_would_be_cut_are_shown_one_after_the_other(widths, num_panels, expected):
    assert arrangement_for(widths, num_panels) == expected
