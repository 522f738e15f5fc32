"""Counted operations against XLA's count, where XLA's can be trusted: on layers that are no loop, or loops counted once."""

import dataclasses
import functools

import flax.linen as nn
import jax
import pytest

from pvchat_jax.config.schema import DataConfig, MeshConfig, OptimizerConfig, TrainConfig
from pvchat_jax.models.config import TINY, PVChatConfig
from pvchat_jax.planning.flops import count_flops, step_shapes
from pvchat_jax.planning.program import ANSWER_POSITIONS, lower_step
from pvchat_jax.sharding import make_mesh

# Wide enough for the matrix products to be nearly everything; XLA counts the rest too.
WIDTH = 256
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


def config_of(model: PVChatConfig, **settings: float) -> TrainConfig:
    optimizer = OptimizerConfig(subject_tokens=1e-3, warmup_steps=1, **settings)
    data = DataConfig(image_size=64, num_frames=4, tile_grid=(1, 1), batch_size=2, questions_per_video=4, text_buckets=(LENGTH,))
    return TrainConfig(model=model, data=data, optimizer=optimizer, compute_dtype="float32", frozen_dtype="float32")


def counted(config: TrainConfig) -> float:
    shapes = step_shapes(config, LENGTH, ANSWER_POSITIONS)
    return sum(part.total for part in count_flops(config, shapes).values())


def counted_by_xla(config: TrainConfig) -> float:
    """XLA's count of the step before it is compiled, in which the body of a loop counts once."""
    return lower_step(config, make_mesh(MeshConfig(), jax.devices()[:1])).cost_analysis()["flops"]


if __name__ == "__main__":
    import time

    def show(name, x, c):
        print(name, x / 1e9, c / 1e9, x / c, time.process_time(), flush=True)

    one = lambda policy, **s: config_of(model_of(1, policy), **s)
    for s in (
        {},
        {"vision_upper": 1e-5},
        {"vision_upper": 1e-5, "base": 1e-5},
        {"qformer": 0.0, "router": 0.0, "lora": 0.0},
        {"gradient_accumulation": 2},
    ):
        show(("none", s), counted_by_xla(config_of(model_of(2, "none"), **s)), counted(one("none", **s)))
    for policy in ("full", "dots", "dots_with_no_batch_dims"):
        for s in ({}, {"vision_upper": 1e-5}):
            show((policy, s), counted_by_xla(config_of(model_of(2, policy), **s)), counted(one(policy, **s)))
    real = nn.scan
    nn.scan = functools.partial(nn.scan, unroll=8)
    for policy in ("none", "full"):
        show(("unrolled", policy), counted_by_xla(config_of(model_of(2, policy))), counted(config_of(model_of(2, policy))))
