"""Training curves: read from `metrics.jsonl`, drawn as inline SVG."""

import dataclasses
import html
import json
import math
from collections.abc import Sequence
from pathlib import Path

_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 26
_MAX_POINTS = 240


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """`points` are (step, value) in ascending order of steps."""

    name: str
    points: Sequence[tuple[float, float]]


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


def draw_chart(title: str, curves: Sequence[Curve]) -> str:
    """An SVG element with `curves` over steps; colours come from the classes `curve-0`, `curve-1`, ... of the page."""
    curves = [dataclasses.replace(curve, points=_thin(curve.points)) for curve in curves]
    steps = [step for curve in curves for step, _ in curve.points]
    values = [value for curve in curves for _, value in curve.points]
    y_ticks = _ticks(min(0.0, *values), max(values))
    x_ticks = _ticks(0.0, max(steps))

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / x_ticks[-1]

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])

    parts = [f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>' for tick in y_ticks]
    parts += [f'<text class="tick" x="{_LEFT - 6}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{tick:g}</text>' for tick in y_ticks]
    parts += [f'<text class="tick" x="{x(tick):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{tick:g}</text>' for tick in x_ticks[:-1]]
    parts.append(f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">{x_ticks[-1]:g} steps</text>')
    for index, curve in enumerate(curves):
        drawn = curve.points * 2 if len(curve.points) == 1 else curve.points  # a line of one point would not show
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in drawn)
        parts.append(f'<polyline class="curve curve-{index}" points="{points}"/>')
    label = html.escape(f"{title}: {', '.join(curve.name for curve in curves)}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MAX_POINTS` means of neighbouring points."""
    size = math.ceil(len(points) / _MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(step for step, _ in group) / len(group), sum(value for _, value in group) / len(group)) for group in groups]


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers around `low` to `high`."""
    span = max(high - low, 1e-9)
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = unit * next(factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 5)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return [index * step for index in range(first, last + 1)]
