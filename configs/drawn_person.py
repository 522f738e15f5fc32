"""From one video of a drawn person to a personalised tiny model, as the quickstart and the benchmark do it.

    python -m pvchat_jax.benchmark --config=configs/cast.py:tiny --config.personalise.num_clips=1200

Presets, on the base model in the package, which knows drawn people alone: `tiny`, whose clips are drawn with the looks that were read
off the one video, and `one_shot`, whose clips are made of the pixels of the one video and of videos of other people in a corpus.
"""

import dataclasses

from configs import stage1, stage2
from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig
from pvchat_jax.config.flags import choose_preset


def get_config(preset: str = "tiny") -> DrawnPersonConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny, "one_shot": one_shot})


def tiny() -> DrawnPersonConfig:
    return DrawnPersonConfig(stage1=stage1.tiny(), stage2=stage2.tiny())


def one_shot() -> DrawnPersonConfig:
    """Clips of one video's pixels take more of them, and longer, to learn from."""
    longer = dataclasses.replace(stage2.tiny(), num_steps=680)
    return dataclasses.replace(tiny(), clip_source="composited", num_clips=2400, num_calibration=192, stage2=longer)
