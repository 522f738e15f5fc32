"""The cast benchmark: how well the tiny model learns people, beside every baseline.

    python -m pvchat_jax.benchmark --config=configs/cast.py:tiny

Presets, both of five subjects with three seeds each: `tiny`, and `one_shot`, which learns from the pixels of the one video.
"""

from configs import drawn_person
from pvchat_jax.config.benchmark_schema import BenchmarkConfig
from pvchat_jax.config.flags import choose_preset


def get_config(preset: str = "tiny") -> BenchmarkConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny, "one_shot": one_shot})


def tiny() -> BenchmarkConfig:
    return BenchmarkConfig(personalise=drawn_person.tiny())


def one_shot() -> BenchmarkConfig:
    return BenchmarkConfig(output_dir="runs/one_shot", personalise=drawn_person.one_shot())
