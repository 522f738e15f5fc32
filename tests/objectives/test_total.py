"""The sum of the parts."""

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.spr import initial_spr_state
from pvchat_jax.objectives.total import total_loss
from tests.objectives.routers import regularise, statistics_of


def test_parts_are_named_and_add_up_unweighted():
    config = ObjectiveConfig(spr_initial=0.3)
    statistics = statistics_of(np.full((1, 3, 4), 0.5, np.float32), np.full((1, 3, 4), -0.5, np.float32))
    spr = initial_spr_state(config, 2)
    loss, (parts, after) = jax.jit(total_loss, static_argnums=3)(jnp.float32(2.0), statistics, spr, config)
    _, (_, regularised) = regularise(statistics, spr, config)
    assert set(parts) == {"lm_loss", "spr_loss", "hae_loss"}
    assert all(part > 0 for part in parts.values())
    np.testing.assert_allclose(loss, sum(parts.values()), rtol=1e-6)
    np.testing.assert_array_equal(after.coefficient, regularised.coefficient)
