"""Stage 2: what does the person do? Video of several frames, all four types of question.

    python -m pvchat_jax.train --config=configs/stage2.py:tiny

Presets: `8b` (the full model), `tiny` (a laptop), `reference` (the full model, trained as the original was).
Each is its namesake of configs/stage1.py with the changes written here.
"""

import dataclasses

from configs import stage1
from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.schema import QUESTION_TYPES, TrainConfig


def get_config(preset: str = "8b") -> TrainConfig:
    """The stage-2 configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"8b": eight_b, "tiny": tiny, "reference": reference})


def eight_b() -> TrainConfig:
    return after(stage1.eight_b(), output_dir="runs/8b/stage2", num_steps=3000, num_frames=8)


def tiny() -> TrainConfig:
    return after(stage1.tiny(), output_dir="runs/tiny/stage2", num_steps=340, num_frames=4, questions_per_video=5)


def reference() -> TrainConfig:
    """As the original trained: what its code does, which is not always what it says."""
    return after(stage1.reference(), output_dir="runs/reference/stage2", num_steps=3000, num_frames=8)


def after(first: TrainConfig, *, output_dir: str, num_steps: int, **data: int) -> TrainConfig:
    """Stage 2 on the result of `first`, with all types of question and the given settings of `data`."""
    return dataclasses.replace(
        first,
        stage=2,
        num_steps=num_steps,
        output_dir=output_dir,
        init_from=first.output_dir,
        data=dataclasses.replace(first.data, question_types=QUESTION_TYPES, **data),
    )
