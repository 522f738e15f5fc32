"""What each part of the method is worth on the cast benchmark.

    python -m pvchat_jax.ablate --config=configs/ablations.py:tiny

Presets: `tiny`, all variants; `one_shot`, what each kind of clip is worth where clips are made of the pixels of the one video.
"""

import dataclasses

from configs import cast
from pvchat_jax.config.benchmark_schema import AblationConfig
from pvchat_jax.config.flags import choose_preset


def get_config(preset: str = "tiny") -> AblationConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"tiny": tiny, "one_shot": one_shot})


def tiny() -> AblationConfig:
    return AblationConfig(
        benchmark=dataclasses.replace(cast.tiny(), output_dir="runs/ablations", subjects=(0, 1), seeds=(0, 1), baselines=False)
    )


def one_shot() -> AblationConfig:
    changes = {"output_dir": "runs/one_shot_ablations", "subjects": (0, 1), "seeds": (0,), "baselines": False}
    benchmark = dataclasses.replace(cast.one_shot(), **changes)
    return AblationConfig(benchmark=benchmark, only=("one_positive", "negatives", "synthetic_positives", "default"))
