"""Counted operations against XLA's count, where XLA's can be trusted: on layers that are no loop, or loops counted once."""

import dataclasses
import functools

import flax.linen as nn
import jax
import pytest

from configs import stage2
from pvchat_jax.config.schema import DataConfig, MeshConfig, OptimizerConfig, TrainConfig
from pvchat_jax.models.config import TINY, PVChatConfig
from pvchat_jax.planning.flops import Shapes, count_flops, step_shapes
from pvchat_jax.planning.program import lower_step, row_lengths
from pvchat_jax.sharding import make_mesh

# Wide enough for the matrix products to be nearly everything; XLA counts the rest too, which may be this share.
WIDTH = 256
ELSE = 0.06
LENGTH = 96


def model_of(layers: int, policy: str) -> PVChatConfig:
    """A model with `layers` blocks in each of its three loops."""
    return dataclasses.replace(
        TINY,
        vision=dataclasses.replace(TINY.vision, width=WIDTH, num_heads=4, mlp_width=4 * WIDTH, depth=2 * layers + 1),
        qformer=dataclasses.replace(TINY.qformer, width=WIDTH, mlp_width=4 * WIDTH),
        language_model=dataclasses.replace(TINY.language_model, width=WIDTH, mlp_width=4 * WIDTH, head_dim=64, num_layers=layers),
        remat_policy=policy,
    )


def config_of(model: PVChatConfig, *, cache_features: bool = False, **settings: float) -> TrainConfig:
    optimizer = OptimizerConfig(subject_tokens=1e-3, warmup_steps=1, **settings)
    sizes = {"image_size": 64, "num_frames": 4, "tile_grid": (1, 1), "batch_size": 2, "questions_per_video": 4, "text_buckets": (LENGTH,)}
    data = DataConfig(cache_features=cache_features, **sizes)
    return TrainConfig(model=model, data=data, optimizer=optimizer, compute_dtype="float32", frozen_dtype="float32")


def counted(config: TrainConfig) -> float:
    shapes = step_shapes(config, *row_lengths(config))
    return sum(part.total for part in count_flops(config, shapes).values())


def counted_by_xla(config: TrainConfig) -> float:
    """XLA's count of the step before it is compiled, in which the body of a loop counts once."""
    return lower_step(config, make_mesh(MeshConfig(), jax.devices()[:1])).cost_analysis()["flops"]


CASES = [
    ("none", {}),
    ("none", {"vision_upper": 1e-5, "base": 1e-5}),
    ("full", {}),
    ("dots_with_no_batch_dims", {"vision_upper": 1e-5}),
    ("none", {"qformer": 0.0, "router": 0.0, "lora": 0.0}),
    ("none", {"vision_upper": 1e-5, "cache_features": True}),
]


@pytest.mark.parametrize(("policy", "settings"), CASES)
def test_counts_what_xla_counts_of_one_layer(policy: str, settings: dict[str, float]) -> None:
    of_xla = counted_by_xla(config_of(model_of(2, policy), **settings))
    ours = counted(config_of(model_of(1, policy), **settings))
    assert ours < of_xla < (1 + ELSE) * ours


def test_counts_what_xla_counts_of_layers_that_are_unrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn, "scan", functools.partial(nn.scan, unroll=3))
    config = config_of(model_of(3, "none"))
    assert counted(config) < counted_by_xla(config) < (1 + ELSE) * counted(config)


def test_full_size_agrees_with_what_was_counted_by_other_means() -> None:
    """TFLOP for a video with one row of 512 tokens, all logits: counted from numbers of parameters beforehand."""
    config = stage2.get_config("8b")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, remat_policy="none"))
    tera = {name: part.total / 1e12 for name, part in count_flops(config, Shapes(1, 3, 2049, 1, 512, 0, 512)).items()}
    assert tera["vision encoder"] == pytest.approx(15.25 * 39 / 40, rel=0.01)  # of 40 blocks, the last of which is not built
    assert tera["language model"] + tera["head"] == pytest.approx(15.11, rel=0.01)


def test_features_that_are_stored_cost_nothing_and_recomputation_something() -> None:
    config = stage2.get_config("8b")
    shapes = step_shapes(config, 448, 0, 64)
    stored = dataclasses.replace(config, data=dataclasses.replace(config.data, cache_features=True))
    assert count_flops(stored, shapes)["vision encoder"].total == 0
    parts = count_flops(config, shapes)
    assert parts["vision encoder"].backward == parts["vision encoder"].recomputed == 0
    decoder = parts["language model"]
    assert decoder.total / (decoder.forward + decoder.backward) == pytest.approx(1.37, abs=0.01)  # 634 over 464, of a compiled layer


def test_what_all_questions_of_a_video_have_in_common_is_computed_once() -> None:
    config = stage2.get_config("8b")
    apart, once = (count_flops(config, step_shapes(config, 448, prefix, 64)) for prefix in (0, 336))
    tokens = 4 * 448, 336 + 4 * 112
    assert once["language model"].total / apart["language model"].total == pytest.approx(tokens[1] / tokens[0], rel=0.05)
    assert once["head"] == apart["head"]
