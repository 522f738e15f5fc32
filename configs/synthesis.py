"""From one video to a training set.

    python -m pvchat_jax.synthesize --video=wilson.mp4 --name='<Wilson>' --out=data/wilson

Presets: `photographed` (real people, with what needs no download), `generated` (real people, through a video diffusion model whose
weights are in weights/generators/wan), `tiny` (the drawn people of `python -m pvchat_jax.world`, for the tiny model).
"""

import dataclasses

from pvchat_jax.config.flags import choose_preset
from pvchat_jax.config.synthesis_schema import SynthesisConfig


def get_config(preset: str = "photographed") -> SynthesisConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"photographed": photographed, "generated": generated, "tiny": tiny})


def photographed() -> SynthesisConfig:
    return SynthesisConfig()


def generated() -> SynthesisConfig:
    """480p as the model was trained: 81 frames, 4k + 1, and sides that divide by 16."""
    return dataclasses.replace(photographed(), generators=("wan",), num_frames=81, width=832, height=480)


def tiny() -> SynthesisConfig:
    return SynthesisConfig(
        reader="tiny_base",
        captioner="reader",
        num_clips=960,
        num_frames=16,
        width=128,
        height=128,
        num_existence=4,
        num_content=2,
    )
