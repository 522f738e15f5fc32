"""Every stage of the forward pass against the original's numbers, for every golden set."""

import jax
import numpy as np
import pytest

from converters.verification.comparison import AGREES, NOT_COMPARED, Comparison
from converters.verification.recording import compare_recording
from pvchat_jax.models.vision import VisionEncoder
from tests import golden_sets
from tests.golden_sets import GoldenSet, assert_agree, assert_close

CALLS = ("vid", "img", "ins")
EVERY_CALL = ("vid", "vid2", "img", "ins")
STAGES = ("vision_encoder_out", "vision_layernorm_out", "qformer_query_out", "project_up_out", "text_embeds", "logits")
AUXILIARY = ("names", "lambda_before", "lambda_after", "active_rate", "lb_loss_ori", "alignment_loss", "alignment_weight", "all_loss")


@pytest.fixture(params=golden_sets.NAMES, scope="module")
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return golden_sets.load(request.param)


@pytest.fixture(scope="module")
def comparisons(golden: GoldenSet) -> dict[str, Comparison]:
    return {comparison.stage: comparison for comparison in compare_recording(golden)}


def test_every_stage_agrees(comparisons: dict[str, Comparison]) -> None:
    assert_agree(list(comparisons.values()))


def test_only_generation_is_not_compared(comparisons: dict[str, Comparison]) -> None:
    left_out = [stage for stage, comparison in comparisons.items() if comparison.verdict == NOT_COMPARED]
    assert all(stage.startswith("gen/") for stage in left_out), left_out


def _agree(comparisons: dict[str, Comparison], stages: list[str]) -> bool:
    return [stage for stage in stages if stage not in comparisons or comparisons[stage].verdict != AGREES] == []


def test_every_stage_of_the_first_call_is_compared(comparisons: dict[str, Comparison]) -> None:
    assert _agree(comparisons, [f"vid/{stage}" for stage in STAGES])  # the original recorded fewer stages of the later calls
    assert _agree(comparisons, [f"{call}/{stage}" for call in CALLS for stage in ("vision_encoder_out", "qformer_query_out")])
    assert _agree(comparisons, ["ins/qformer_text_out"])


def test_logits_of_every_call_are_compared(golden: GoldenSet, comparisons: dict[str, Comparison]) -> None:
    for call in CALLS:
        recorded = [name for name in golden.io if name.startswith(f"{call}/logits")]
        assert recorded and _agree(comparisons, recorded)


def test_every_router_is_compared(golden: GoldenSet, comparisons: dict[str, Comparison]) -> None:
    modules = golden.config.qformer.routed_modules
    for call in CALLS:
        recorded = {name.split("/gating_probs.")[1] for name in golden.io if name.startswith(f"{call}/gating_probs.")}
        assert recorded == set(modules)
        assert _agree(comparisons, [f"{call}/{kind}.{module}" for kind in ("gating_probs", "alpha_probs") for module in modules])


def test_losses_and_adaptive_numbers_of_consecutive_calls_are_compared(comparisons: dict[str, Comparison]) -> None:
    """The second call goes on from the first one's state."""
    for call in EVERY_CALL:
        assert _agree(comparisons, [f"{call}/{loss}" for loss in ("lm_loss", "lb_loss", "total_loss")])
        assert _agree(comparisons, [f"{call}/aux_{name}" for name in AUXILIARY])
    assert comparisons["vid2/aux_lambda_before"].tolerance == comparisons["vid/aux_lambda_after"].tolerance == "1e-05 of each"
    assert comparisons["vid/aux_active_rate"].tolerance == "1e-06 of each"


def test_each_block_is_compared(golden: GoldenSet, comparisons: dict[str, Comparison]) -> None:
    config = golden.config
    assert _agree(comparisons, [f"vid/vit_block{index}_out_clip0" for index in range(config.vision.num_blocks)])
    assert _agree(comparisons, [f"vid/qformer_layer{index}_out_clip0" for index in range(config.qformer.num_layers)])
    assert _agree(comparisons, [f"vid/lm_hidden{index}_row0" for index in range(config.language_model.num_layers + 1)])
    assert _agree(comparisons, ["posT/vision_encoder_out", "vid/qformer_embeddings_out_clip0"])


def test_recomputation_changes_nothing(golden: GoldenSet) -> None:
    """Rematerialised blocks return the same features and gradients."""
    video = golden.clips_last("in/video")[0, :1]

    def value_and_gradient(policy: str):
        encoder = VisionEncoder(golden.config.vision, policy)
        return jax.jit(jax.value_and_grad(lambda params: (encoder.apply({"params": params}, video) ** 2).sum()))(
            golden.params["vision_encoder"]
        )

    plain = value_and_gradient("none")
    for policy in ("full", "dots"):
        jax.tree.map(lambda a, b: assert_close(a, np.asarray(b), 1e-5), value_and_gradient(policy), plain)
