"""From one video to a model that knows the person.

    python -m pvchat_jax.personalize --video=wilson.mp4 --name='<Wilson>' --out=data/wilson --corpus=faces

Presets: `8b` (the full model, photographed people), `tiny` (the tiny model, drawn people).
"""

from configs import stage1, stage2, synthesis
from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.personalize_schema import PersonalizeConfig


def get_config(preset: str = "8b") -> PersonalizeConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"8b": eight_b, "tiny": tiny})


def eight_b() -> PersonalizeConfig:
    return PersonalizeConfig(synthesis=synthesis.photographed(), stage1=stage1.eight_b(), stage2=stage2.eight_b())


def tiny() -> PersonalizeConfig:
    return PersonalizeConfig(synthesis=synthesis.tiny(), stage1=stage1.tiny(), stage2=stage2.tiny(), with_stage1=False)
