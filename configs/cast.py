"""The cast benchmark: how well the tiny model learns people, beside every baseline.

    python -m pvchat_jax.benchmark --config=configs/cast.py:tiny

Preset: `tiny`, five subjects with three seeds each.
"""

from configs import personalise
from pvchat_jax.config.benchmark_schema import BenchmarkConfig
from pvchat_jax.config.flags import choose_preset


def get_config(preset: str = "tiny") -> BenchmarkConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny})


def tiny() -> BenchmarkConfig:
    return BenchmarkConfig(personalise=personalise.tiny())
