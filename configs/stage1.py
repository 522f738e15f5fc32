"""Stage 1: who is this? Single frames, existence and appearance questions.

    python -m pvchat_jax.train --config=configs/stage1.py:tiny

Presets: `8b` (the full model), `tiny` (a laptop), `reference` (the full model, trained as the original was).
"""

import dataclasses

from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.schema import CheckpointConfig, DataConfig, MeshConfig, ObjectiveConfig, OptimizerConfig, TrainConfig
from pvchat_jax.models.config import EIGHT_B, REFERENCE, TINY


def get_config(preset: str = "8b") -> TrainConfig:
    """The stage-1 configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"8b": eight_b, "tiny": tiny, "reference": reference})


def eight_b() -> TrainConfig:
    return TrainConfig(
        stage=1,
        num_steps=1000,
        output_dir="runs/8b/stage1",
        weights="weights/8b",
        compute_dtype="bfloat16",
        frozen_dtype="bfloat16",
        model=EIGHT_B,
        data=DataConfig(
            train="data/wilson/train.jsonl",
            tokenizer="weights/8b/tokenizer",
            subject="<Wilson>",
            question_types=("existence", "appearance"),
            num_frames=1,
            tile_grid=(2, 1),
            batch_size=16,
            questions_per_video=4,
        ),
        optimizer=OptimizerConfig(subject_tokens=1e-4, name_row=1e-4, qformer=1e-5, router=1e-6, lora=1e-5),
        mesh=MeshConfig(data=1, fsdp=-1),  # 15.5 GiB of frozen weights would be all that a TPU v5e has
        checkpoint=CheckpointConfig(every_steps=200, keep=2),
    )


def tiny() -> TrainConfig:
    return TrainConfig(
        stage=1,
        num_steps=60,
        output_dir="runs/tiny/stage1",
        weights="tiny",  # the base model in the package
        compute_dtype="float32",
        frozen_dtype="float32",
        model=TINY,
        data=DataConfig(
            train="quickstart/wilson/train.jsonl",
            tokenizer="tiny",
            question_types=("existence", "appearance"),
            num_frames=1,
            random_frames=True,
            cache_features=True,
            image_size=64,
            tile_grid=(1, 1),
            batch_size=16,
            questions_per_video=4,
            text_buckets=(56, 64, 96, 128, 192, 256),
            num_workers=0,
        ),
        optimizer=OptimizerConfig(subject_tokens=3e-3, name_row=3e-3, qformer=2e-3, router=1e-3, lora=5e-3, warmup_steps=20),
        checkpoint=CheckpointConfig(every_steps=100, keep=2),
    )


def reference() -> TrainConfig:
    """As the original trained: what its code does, which is not always what it says."""
    ours = eight_b()
    return dataclasses.replace(
        ours,
        output_dir="runs/reference/stage1",
        model=REFERENCE,
        data=dataclasses.replace(ours.data, batch_size=2, questions_per_video=1, balance_presence=False, prompt_style="reference"),
        # The name's row is listed in the original's optimizer but never gets a gradient. clip_norm 0 clips nothing.
        optimizer=dataclasses.replace(ours.optimizer, name_row=0.0, clip_norm=0.0, schedule="constant", warmup_steps=0),
        objective=ObjectiveConfig(spr_rate=0.8, hae_mode="reference"),
    )
