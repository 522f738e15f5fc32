"""Every stage of the forward pass against the original's numbers, for every golden set."""

import jax
import numpy as np
import pytest

from pvchat_jax.models.pvchat import PVChat, build_pvchat
from pvchat_jax.models.qformer import QFormerOutput
from pvchat_jax.models.vision import VisionBlock, VisionEncoder
from tests import golden_sets
from tests.golden_sets import GoldenSet, assert_close

CALLS = ("vid", "img", "ins")


@pytest.fixture(params=golden_sets.NAMES, scope="module")
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return golden_sets.load(request.param)


@pytest.fixture(scope="module")
def model(golden: GoldenSet) -> PVChat:
    return build_pvchat(golden.config)


def _forward(golden: GoldenSet, model: PVChat, call: str) -> dict:
    """The stages of one recorded call, each from the one before."""
    io = golden.io
    video = golden.clips_last("in/video_image_T1" if call == "img" else "in/video")
    instruction = (io["in/instr_input_ids"], io["in/instr_attention_mask"]) if call == "ins" else (None, None)

    @jax.jit
    def run(params: dict) -> dict:
        bound = model.bind({"params": params})
        clips = video.reshape(-1, *video.shape[2:])
        raw = bound.vision_encoder(clips)
        features = bound.encode_video(video)
        queries: QFormerOutput = bound.query(features, *instruction)
        visual = bound.visual_tokens(queries.queries, video.shape[0])
        rows = [io[f"in/{name}"][:, None] for name in ("input_ids", "attention_mask", "video_idx")]
        embeddings = bound.embed_rows(visual, rows[0], rows[2])
        output = bound(video, *rows, instruction_ids=instruction[0], instruction_mask=instruction[1])
        return {
            "vision_encoder_out": raw,
            "vision_layernorm_out": features.reshape(-1, *features.shape[2:]),
            "qformer_query_out": queries.queries,
            "qformer_text_out": queries.text,
            "project_up_out": visual.reshape(queries.queries.shape[0], -1, visual.shape[-1]),
            "text_embeds": embeddings,
            "routing": queries.routing,
            "logits": output.logits[:, 0],
        }

    return run(golden.params)


@pytest.fixture(scope="module", params=CALLS)
def call(request: pytest.FixtureRequest, golden: GoldenSet, model: PVChat) -> tuple[str, dict]:
    return request.param, _forward(golden, model, request.param)


@pytest.mark.parametrize(
    "stage",
    ["vision_encoder_out", "vision_layernorm_out", "qformer_query_out", "qformer_text_out", "project_up_out", "text_embeds"],
)
def test_stage(golden: GoldenSet, call: tuple[str, dict], stage: str) -> None:
    name, stages = call
    if f"{name}/{stage}" not in golden.io:  # the original recorded fewer stages of the later calls
        assert name != "vid" or stage == "qformer_text_out"
        return
    assert_close(stages[stage], golden.io[f"{name}/{stage}"])


def test_every_router(golden: GoldenSet, call: tuple[str, dict]) -> None:
    name, stages = call
    recorded = {key.split("/gating_probs.")[1] for key in golden.io if key.startswith(f"{name}/gating_probs.")}
    assert recorded == set(stages["routing"]) == set(golden.config.qformer.routed_modules)
    for module, routing in stages["routing"].items():
        assert_close(routing.gates, golden.io[f"{name}/gating_probs.{module}"])
        assert_close(routing.mixing, golden.io[f"{name}/alpha_probs.{module}"])


def test_logits(golden: GoldenSet, call: tuple[str, dict]) -> None:
    name, stages = call
    recorded = [key for key in golden.io if key.startswith(f"{name}/logits")]
    assert recorded
    for key in recorded:
        expected = golden.io[key]
        assert_close(stages["logits"][:, -expected.shape[1] :], expected)


def test_each_vision_block(golden: GoldenSet) -> None:
    config = golden.config
    encoder = golden.params["vision_encoder"]
    recorded = sorted(key for key in golden.io if key.startswith("vid/vit_block"))
    assert len(recorded) == config.vision.num_blocks
    video = golden.clips_last("in/video")[0, :1]
    # from the first recorded block's output on, each block alone maps one record to the next
    for index in range(1, config.vision.num_blocks):
        half, offset = (
            ("lower_blocks", index) if index < config.vision.num_lower_blocks else ("upper_blocks", index - config.vision.num_lower_blocks)
        )
        block = jax.tree.map(lambda x, offset=offset: x[offset], encoder[half])
        output, _ = jax.jit(VisionBlock(config.vision).apply)({"params": block}, golden.io[f"vid/vit_block{index - 1}_out_clip0"])
        assert_close(output, golden.io[f"vid/vit_block{index}_out_clip0"])
    output = jax.jit(VisionEncoder(config.vision, "none").apply)({"params": encoder}, video)
    assert_close(output, golden.io[recorded[-1]])


def test_fewer_frames_resample_the_position_table(golden: GoldenSet) -> None:
    frames = int(golden.io["posT/num_frames_used"])
    video = golden.clips_last("in/video")
    clips = video.reshape(-1, *video.shape[2:])[:2, :frames]
    output = jax.jit(VisionEncoder(golden.config.vision, "none").apply)({"params": golden.params["vision_encoder"]}, clips)
    assert_close(output, golden.io["posT/vision_encoder_out"])


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
