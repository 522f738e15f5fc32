"""Position tables and their resampling against the original's numbers."""

import numpy as np
import pytest

from pvchat_jax.models.positions import resample_table, sincos_table
from tests import golden_sets
from tests.golden_sets import assert_close


@pytest.fixture(params=golden_sets.NAMES)
def golden(request: pytest.FixtureRequest) -> golden_sets.GoldenSet:
    return golden_sets.load(request.param)


def test_sincos_tables(golden: golden_sets.GoldenSet) -> None:
    vision = golden.config.vision
    assert_close(sincos_table(vision.num_temporal_positions, vision.grid_size, vision.width), golden.io["sincos/pos_embed"])
    assert_close(sincos_table(1, vision.grid_size, vision.width), golden.io["sincos/img_pos_embed"])


@pytest.mark.parametrize("kind", ["temporal", "spatial", "both"])
def test_resampling_at_run_time(golden: golden_sets.GoldenSet, kind: str) -> None:
    vision = golden.config.vision
    time, tokens_per_frame = golden.io[f"expand_pos_embed/{kind}_newT_newL"].tolist()
    old, new = (vision.num_temporal_positions, vision.grid_size), (time, round(tokens_per_frame**0.5))
    expected = golden.io[f"expand_pos_embed/{kind}"]
    if expected.shape[1] != 1 + new[0] * new[1] ** 2:  # recorded as tokens of the whole clip
        new = (time, round((tokens_per_frame / time) ** 0.5))
    assert_close(resample_table(golden.params["vision_encoder"]["pos_embed"], old, new), expected)


def test_resampling_a_checkpoint(golden: golden_sets.GoldenSet) -> None:
    vision, io = golden.config.vision, golden.io
    table = io["ckpt_interp/pos_embed_in"]
    old = (int(io["ckpt_interp/orig_t_size"]), int(io["ckpt_interp/orig_grid"]))
    resampled = resample_table(table, old, (vision.num_temporal_positions, vision.grid_size))
    assert_close(resampled, io["ckpt_interp/pos_embed_out"])
    np.testing.assert_array_equal(resampled[:, 0], table[:, 0])
