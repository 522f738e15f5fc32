"""Training curves, read from the `metrics.jsonl` of a run."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

_CURVES = ("loss", "lm_loss", "spr_loss", "hae_loss", "balance_loss", "token_accuracy", "active_rate", "spr_coefficient")
_MODULE_CURVES = ("active_rate", "spr_coefficient")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """`points` are (step, value) in ascending order of steps."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageCurves:
    """Curves of one training run, by the names that `curve_keys` gives.

    Attributes:
      title: such as `Stage 1`.
      target_active_rate: of the run's objective, in [0, 1].
    """

    title: str
    curves: Sequence[Curve]
    target_active_rate: float


def curve_keys(modules: Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics that are drawn, for a model with these routed modules."""
    return (*_CURVES, *(module_key(name, module) for name in _MODULE_CURVES for module in modules))


def module_key(name: str, module: str) -> str:
    """The metric `name` of one routed module, as training writes it: `active_rate/6.self`."""
    return f"{name}/{module}"


def read_curves(path: Path, keys: Sequence[str]) -> list[Curve]:
    """Curves of `keys` from a file with one JSON object per logged step.

    A step that was logged again after a restart counts once, with its later value; a last line cut off by
    an interruption, and values that are not finite, are left out. A missing file gives no curves.
    """
    if not path.is_file():
        return []
    by_step: dict[float, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and _is_number(entry.get("step")):
            by_step[entry["step"]] = entry
    curves = [
        Curve(name=key, points=[(step, entry[key]) for step, entry in sorted(by_step.items()) if _is_number(entry.get(key))])
        for key in keys
    ]
    return [curve for curve in curves if curve.points]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
