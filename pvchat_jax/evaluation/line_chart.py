"""A line chart over training steps as inline SVG.

Lines are labelled at their ends and differ in dashes as well as in colour, so that they can be told apart in greyscale.
Colours and sizes of text come from the page's style sheet.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from pvchat_jax.evaluation.markup import text

NUM_COLOURS = 6
_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 92, 26, 36
_MAX_POINTS = 240
_LABEL_HEIGHT = 13


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """`points` are (step, value) in ascending order of steps; `colour` counts from 0 to `NUM_COLOURS` - 1."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False


def draw_lines(
    title: str, lines: Sequence[Line], *, unit: str, top: float | None = None, logarithmic: bool = False, target: float | None = None
) -> str:
    """An SVG element with at least one line over the steps.

    Args:
      title: what a screen reader says before it names the lines.
      unit: of the values, written at the vertical axis.
      top: end of a linear vertical axis that starts at 0; None fits it to the values and 0.
      logarithmic: for positive values only.
      target: value that a long-dashed horizontal line marks.
    """
    lines = [dataclasses.replace(line, points=_thin(line.points)) for line in lines]
    convert: Callable[[float], float] = math.log10 if logarithmic else float
    values = [convert(value) for line in lines for _, value in line.points]
    marked = [*values, convert(target)] if target is not None else values
    if logarithmic:
        ticks = _ticks(min(marked), max(marked), whole=True)
    else:
        ticks = _ticks(min(0.0, *marked), max(marked) if top is None else top)
    steps = _ticks(0.0, max(step for line in lines for step, _ in line.points))

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / steps[-1]

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (convert(value) - ticks[0]) / (ticks[-1] - ticks[0])

    parts = [*_vertical_axis(ticks, unit, logarithmic), *_horizontal_axis([(x(step), step) for step in steps])]
    ends = []
    if target is not None:
        parts.append(f'<line class="target" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(target):.1f}" y2="{y(target):.1f}"/>')
        ends.append(("tick", f"target {target:g}", float(_WIDTH - _RIGHT), y(target)))
    for line in lines:
        drawn = [(x(step), y(value)) for step, value in line.points]
        style = f"colour-{line.colour % NUM_COLOURS}"
        points = " ".join(f"{left:.1f},{height:.1f}" for left, height in drawn)
        parts.append(f'<polyline class="curve {style}{" dashed" if line.dashed else ""}" points="{points}"/>')
        parts.append(f'<circle class="dot {style}" cx="{drawn[-1][0]:.1f}" cy="{drawn[-1][1]:.1f}" r="2.5"/>')
        ends.append((f"label {style}", line.name, *drawn[-1]))
    parts += _end_labels(ends)
    spoken = "; ".join(f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in lines)
    label = text(f"{title} in {unit}: {spoken}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _vertical_axis(ticks: Sequence[float], unit: str, logarithmic: bool) -> Iterator[str]:
    exponent = math.floor(math.log10(max(map(abs, ticks))) + 1e-9)
    factor = 1.0 if logarithmic or -2 <= exponent <= 4 else 10.0**exponent
    shown_unit = unit if factor == 1 else f"{unit} × 1e{exponent}"
    yield f'<text class="tick" x="4" y="13">{text(shown_unit)}</text>'
    for index, tick in enumerate(ticks):
        height = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * index / (len(ticks) - 1)
        shown = f"1e{tick:.0f}" if logarithmic else f"{tick / factor:g}"
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{shown}</text>'


def _horizontal_axis(places: Sequence[tuple[float, float]]) -> Iterator[str]:
    bottom = _HEIGHT - _BOTTOM
    for left, step in places:
        yield f'<line class="axis" x1="{left:.1f}" x2="{left:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        yield f'<text class="tick" x="{left:.1f}" y="{bottom + 17}" text-anchor="middle">{step:g}</text>'
    yield f'<text class="tick" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{bottom + 32}" text-anchor="middle">optimiser step</text>'


def _end_labels(ends: Sequence[tuple[str, str, float, float]]) -> Iterator[str]:
    """Labels of (style, name, x, y) at the right edge, none above another, each joined to its place."""
    heights = _spread([height for *_, height in ends], _LABEL_HEIGHT, _TOP - 8, _HEIGHT - _BOTTOM)
    right = _WIDTH - _RIGHT
    for (style, name, left, height), placed in zip(ends, heights, strict=True):
        yield f'<polyline class="leader" points="{left:.1f},{height:.1f} {right + 2},{height:.1f} {right + 9},{placed:.1f}"/>'
        yield f'<text class="{style}" x="{right + 12}" y="{placed + 4:.1f}">{text(name)}</text>'


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near `wanted` between `low` and `high`, in the same order and `gap` apart, or less where there is no room."""
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    limit = low
    for index in order:
        placed[index] = max(placed[index], limit)
        limit = placed[index] + gap
    limit = high
    for index in reversed(order):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MAX_POINTS` means of neighbouring points."""
    size = math.ceil(len(points) / _MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(step for step, _ in group) / len(group), sum(value for _, value in group) / len(group)) for group in groups]


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Two to seven round numbers around `low` to `high`; `whole` ones on demand."""
    span = max(high - low, 1e-9)
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = unit * next(factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 5)
    step = max(1.0, math.ceil(step)) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]
