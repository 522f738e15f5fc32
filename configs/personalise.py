"""From one video to a personalised tiny model.

    python -m pvchat_jax.personalise --config=configs/personalise.py:tiny --config.video=FILE.mp4

Presets, on the base model in the package, which knows drawn people alone: `tiny`, whose clips are drawn with the looks that were read
off the one video, and `one_shot`, whose clips are made of the pixels of the one video and of videos of other people in `--config.corpus`.
"""

import dataclasses

from configs import stage1, stage2
from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.personalise_schema import PersonaliseConfig


def get_config(preset: str = "tiny") -> PersonaliseConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny, "one_shot": one_shot})


def tiny() -> PersonaliseConfig:
    return PersonaliseConfig(stage1=stage1.tiny(), stage2=stage2.tiny())


def one_shot() -> PersonaliseConfig:
    return dataclasses.replace(tiny(), clip_source="composited")
