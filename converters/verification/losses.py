"""Losses of recorded calls, and the adaptive numbers that go from call to call.

The regularisers are computed from the recorded gates (from ours where none were recorded): they count gates above zero, and
one gate that rounding moves across zero would show in every number here, although `gating_probs` agrees.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from converters.recordings import Recording
from converters.verification.comparison import FORWARD, Comparison, Tolerance, compare, compare_names
from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.hae import hae_loss
from pvchat_jax.objectives.language_modelling import mean_loss, next_tokens, token_sums
from pvchat_jax.objectives.routing import RoutingStatistics, routing_statistics
from pvchat_jax.objectives.spr import SPRState, initial_spr_state, spr_loss
from pvchat_jax.objectives.total import regularisation_loss

# The state was reset before each of these; within one, it goes on.
SEQUENCES = (("vid", "vid2"), ("img",), ("ins",))

ADAPTIVE = Tolerance(of_each=1e-5)
_COUNTED = Tolerance(of_each=1e-6)
_TOLERANCES = {
    "aux_lambda_before": ADAPTIVE,
    "aux_lambda_after": ADAPTIVE,
    "aux_active_rate": _COUNTED,
    "aux_alignment_weight_before": ADAPTIVE,
    "aux_alignment_weight": ADAPTIVE,
}


@dataclasses.dataclass(frozen=True)
class _Routing:
    logits: np.ndarray
    gates: np.ndarray


def compare_losses(recording: Recording, stages_of: Mapping[str, Mapping[str, Any]]) -> Iterator[Comparison]:
    """Losses and `aux_*` of every recorded call.

    Args:
      stages_of: what `run_call` gave, by call.
    """
    modules = recording.config.qformer.routed_modules
    for sequence in SEQUENCES:
        state = initial_spr_state(recording.objective, len(modules))
        for call in sequence:
            if not any(name.startswith(f"{call}/") for name in recording.io) or sequence[0] not in stages_of:
                continue
            values, state = _values_of(recording, call, stages_of[sequence[0]], state)
            if f"{call}/aux_names" in recording.io:
                yield compare_names(f"{call}/aux_names", modules, recording.io[f"{call}/aux_names"].tolist(), ordered=True)
            for name, value in values.items():
                if f"{call}/{name}" in recording.io:
                    yield compare(f"{call}/{name}", value, recording.io[f"{call}/{name}"], _TOLERANCES.get(name, FORWARD))


def _values_of(recording: Recording, call: str, stages: Mapping[str, Any], state: SPRState) -> tuple[dict[str, Any], SPRState]:
    """What `call` records, ours, and the state after it. `stages` are those of the first call with the same inputs."""
    objective, modules = recording.objective, recording.config.qformer.routed_modules
    statistics = routing_statistics(_routing(recording, call, stages), modules, objective.hae_slope)
    router_loss, regularisation = regularisation_loss(statistics, state, objective)
    after = regularisation.spr
    values: dict[str, Any] = {}
    if modules:
        values = {
            "aux_lambda_before": state.coefficient,
            "aux_lambda_after": after.coefficient,
            "aux_active_rate": statistics.active_rate,
            "aux_alignment_weight_before": state.hae_weight,
            "aux_alignment_weight": after.hae_weight,
            **_per_module(statistics, after, objective),
        }
    values["lb_loss"] = router_loss
    if "in/labels" in recording.io:
        targets = next_tokens(jnp.asarray(recording.io["in/labels"]))
        lm_loss = mean_loss(jax.jit(token_sums)(stages["logits"], targets))
        values |= {"lm_loss": lm_loss, "total_loss": lm_loss + router_loss}
    return values, after


def _routing(recording: Recording, call: str, stages: Mapping[str, Any]) -> dict[str, _Routing]:
    source = "vid" if call == "vid2" else call  # the same inputs, so the same gates
    routing = {}
    for module in recording.config.qformer.routed_modules:
        stage = f"gating_probs.{module}"
        recorded = recording.io.get(f"{source}/{stage}")
        gates = stages[stage] if recorded is None else recorded
        routing[module] = _Routing(gates, gates)  # nothing that the original computes reads the logits
    return routing


def _per_module(statistics: RoutingStatistics, state: SPRState, objective: ObjectiveConfig) -> dict[str, np.ndarray]:
    """The regularisers of one module at a time, float32[M] each."""
    rows = [jax.tree.map(lambda leaf, m=m: leaf[m : m + 1], (statistics, state)) for m in range(len(state.coefficient))]
    balance = np.array([spr_loss(own, spr.coefficient, objective) for own, spr in rows])
    alignment = np.array([hae_loss(own, np.ones(1, np.float32), objective) for own, _ in rows])
    return {"aux_lb_loss_ori": balance, "aux_alignment_loss": alignment, "aux_all_loss": balance + np.asarray(state.hae_weight) * alignment}
