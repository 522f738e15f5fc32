"""Shares of several systems with their intervals, as inline SVG."""

from collections.abc import Sequence

from pvchat_jax.evaluation.markup import text
from pvchat_jax.evaluation.metrics.bootstrap import Interval

_WIDTH, _RIGHT, _ROW, _BOTTOM = 440, 46, 24, 34
_MAX_LABEL = 24


def draw_intervals(rows: Sequence[tuple[str, float, Interval | None]]) -> str:
    """An SVG element with one row per (name, share in [0, 1], interval); the first row stands out, and a line marks one half."""
    rows = [(_shorten(name), share, interval) for name, share, interval in rows]
    bottom = _ROW * len(rows) + 6
    first = 20 + 7.5 * max(len(name) for name, *_ in rows)

    def x(share: float) -> float:
        return first + (_WIDTH - first - _RIGHT) * share

    parts = []
    for percent in (0, 25, 50, 75, 100):
        left = x(percent / 100)
        style = "target" if percent == 50 else "grid"
        parts.append(f'<line class="{style}" x1="{left:.1f}" x2="{left:.1f}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{left:.1f}" y="{bottom + 15}" text-anchor="middle">{percent}</text>')
    parts.append(f'<text class="tick" x="{x(0.5):.1f}" y="{bottom + 30}" text-anchor="middle">%, dashed: guessing</text>')
    for index, (name, share, interval) in enumerate(rows):
        height = _ROW * index + _ROW / 2 + 2
        style = "colour-0" if index == 0 else "colour-5"
        parts.append(f'<text class="label {"ink" if index == 0 else "tick"}" x="0" y="{height + 4}">{text(name)}</text>')
        if interval is not None:
            parts.append(
                f'<line class="whisker {style}" x1="{x(interval.low):.1f}" x2="{x(interval.high):.1f}" y1="{height}" y2="{height}"/>'
            )
        parts.append(f'<circle class="dot {style}" cx="{x(share):.1f}" cy="{height}" r="{5 if index == 0 else 4}"/>')
        parts.append(f'<text class="label ink" x="{_WIDTH}" y="{height + 4}" text-anchor="end">{100 * share:.1f}</text>')
    label = text("Balanced accuracy in percent: " + "; ".join(f"{name} {100 * share:.1f}" for name, share, _ in rows))
    return f'<svg viewBox="0 0 {_WIDTH} {bottom + _BOTTOM}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 1]}…"
