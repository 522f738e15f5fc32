"""Position tables and their resampling against the original's numbers."""

import numpy as np
import pytest

from converters.verification.tables import compare_position_tables
from pvchat_jax.models.positions import resample_table
from tests import golden_sets
from tests.golden_sets import assert_agree


@pytest.fixture(params=golden_sets.NAMES)
def golden(request: pytest.FixtureRequest) -> golden_sets.GoldenSet:
    return golden_sets.load(request.param)


def test_tables_and_their_resampling(golden: golden_sets.GoldenSet) -> None:
    comparisons = list(compare_position_tables(golden))
    assert_agree(comparisons)
    assert {comparison.stage for comparison in comparisons} == {
        "sincos/pos_embed",
        "sincos/img_pos_embed",
        "expand_pos_embed/temporal",
        "expand_pos_embed/spatial",
        "expand_pos_embed/both",
        "ckpt_interp/pos_embed_out",
    }


def test_resampling_leaves_the_cls_entry(golden: golden_sets.GoldenSet) -> None:
    vision, io = golden.config.vision, golden.io
    table = io["ckpt_interp/pos_embed_in"]
    old = (int(io["ckpt_interp/orig_t_size"]), int(io["ckpt_interp/orig_grid"]))
    resampled = resample_table(table, old, (vision.num_temporal_positions, vision.grid_size))
    np.testing.assert_array_equal(resampled[:, 0], table[:, 0])
