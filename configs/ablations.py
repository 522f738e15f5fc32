"""What each part of the method is worth on the cast benchmark.

    python -m pvchat_jax.ablate --config=configs/ablations.py:tiny

Preset: `tiny`.
"""

import dataclasses

from configs import cast
from pvchat_jax.config.benchmark_schema import AblationConfig
from pvchat_jax.config.flags import choose_preset


def get_config(preset: str = "tiny") -> AblationConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny})


def tiny() -> AblationConfig:
    return AblationConfig(
        benchmark=dataclasses.replace(cast.tiny(), output_dir="runs/ablations", subjects=(0, 1), seeds=(0, 1), baselines=False)
    )
