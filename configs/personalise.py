"""From one video to a personalised tiny model.

    python -m pvchat_jax.personalise --config=configs/personalise.py:tiny --config.video=FILE.mp4

Preset: `tiny`, on the base model in the package, which knows drawn people alone.
"""

from configs import stage1, stage2
from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.personalise_schema import PersonaliseConfig


def get_config(preset: str = "tiny") -> PersonaliseConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny})


def tiny() -> PersonaliseConfig:
    return PersonaliseConfig(stage1=stage1.tiny(), stage2=stage2.tiny())
