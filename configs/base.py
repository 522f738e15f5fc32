"""The tiny base model: what it is trained on and for how long.

    python -m pvchat_jax.pretrain --config=configs/base.py:tiny

Preset: `tiny`, the model that the package ships and that `make quickstart` personalises.
"""

import dataclasses

from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.pretrain_schema import PretrainConfig
from pvchat_jax.config.schema import CheckpointConfig, DataConfig, OptimizerConfig, TrainConfig
from pvchat_jax.models.config import TINY, impersonal


def get_config(preset: str = "tiny") -> PretrainConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny})


def tiny() -> PretrainConfig:
    image = TrainConfig(
        stage=1,
        num_steps=3600,
        output_dir="runs/base/image",
        compute_dtype="float32",
        frozen_dtype="float32",
        model=impersonal(TINY),
        data=DataConfig(
            tokenizer="tiny",
            subject="<person>",
            num_frames=1,
            image_size=64,
            tile_grid=(1, 1),
            batch_size=64,
            questions_per_video=5,
            text_buckets=(64, 96),
            num_workers=0,
        ),
        # No decay: the phase on video takes over where this one stops, and its own decay serves both.
        optimizer=dataclasses.replace(rates(1.2e-3, warmup_steps=100), schedule="constant"),
        checkpoint=CheckpointConfig(every_steps=100, keep=1),
    )
    video = dataclasses.replace(
        image,
        stage=2,
        num_steps=1500,
        output_dir="runs/base/video",
        data=dataclasses.replace(image.data, num_frames=4, batch_size=32),
        optimizer=rates(1e-3, warmup_steps=50),
    )
    language = dataclasses.replace(
        video,
        num_steps=2200,
        output_dir="runs/base/language",
        data=dataclasses.replace(video.data, batch_size=24),
        optimizer=rates(2e-3, warmup_steps=100),
    )
    parts = dataclasses.replace(
        image,
        num_steps=1500,
        output_dir="runs/base/parts",
        data=dataclasses.replace(image.data, batch_size=32),
        optimizer=rates(3e-3, warmup_steps=50),
    )
    return PretrainConfig(output_dir="runs/base", image=image, video=video, language=language, parts=parts)


def rates(rate: float, *, warmup_steps: int) -> OptimizerConfig:
    """Every group at the same learning rate: nothing is pretrained."""
    return OptimizerConfig(
        subject_tokens=rate, name_row=rate, qformer=rate, router=rate, lora=rate, vision_upper=rate, base=rate, warmup_steps=warmup_steps
    )
