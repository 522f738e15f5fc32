"""Which runs are asked about which videos, beside the systems that would expose a cheat.

    python -m pvchat_jax.evaluate --config=configs/eval.py --config.runs=runs/8b/stage2 --config.records=data/wilson/test.jsonl

Presets: `8b` (the run that README.md trains), `tiny` (what `make quickstart` has trained).
"""

import dataclasses

from pvchat_jax.config.evaluation_schema import EvaluationConfig
from pvchat_jax.config.flags import choose_preset


def get_config(preset: str = "8b") -> EvaluationConfig:
    """The configuration of `preset`; raises `UserError` for an unknown one."""
    return choose_preset(preset, {"8b": eight_b, "tiny": tiny})


def eight_b() -> EvaluationConfig:
    return EvaluationConfig(runs=("runs/8b/stage2",), records=("data/wilson/test.jsonl",))


def tiny() -> EvaluationConfig:
    return dataclasses.replace(
        eight_b(), runs=("quickstart/wilson/stage2",), records=("quickstart/world/test.jsonl",), output_dir="quickstart/sweep"
    )
