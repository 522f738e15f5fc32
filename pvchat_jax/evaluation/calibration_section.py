"""The part of the page about the probability of "Yes": a reliability diagram, its numbers, and a calibrated threshold."""

from collections.abc import Iterator, Sequence

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.calibration import Calibration, balanced_accuracy_at, calibrate, yes_probability
from pvchat_jax.evaluation.markup import Section, figure, note, table, text

_SIZE, _LEFT, _TOP, _GAP, _BARS = 300, 50, 24, 22, 58
_WIDTH, _HEIGHT = _LEFT + _SIZE + 14, _TOP + _SIZE + _GAP + _BARS + 44
_COLUMNS = ("p(yes)", "questions", "mean p(yes), %", "present, %")


def calibration_section(answers: Sequence[Answer], threshold: float | None) -> Section | None:
    """The section, or None where no answer has log-odds.

    Args:
      threshold: on the log-odds, in nats; None if there is none.
    """
    calibration = calibrate(answers)
    if calibration is None:
        return None
    rows = [
        (
            f"{item.low:.1f} to {item.high:.1f}",
            str(item.num_questions),
            f"{100 * item.mean_probability:.1f}",
            f"{100 * item.present_rate:.1f}",
        )
        for item in calibration.bins
    ]
    sentences = [
        f"Expected calibration error: {100 * calibration.expected_error:.1f} points, the mean distance of the dots from the diagonal, "
        "weighted by questions.",
        "p(yes) is the probability of Yes against No as the first word of the answer.",
    ]
    if threshold is not None:
        sentences.append(_describe_threshold(answers, threshold))
    chart = figure("Reliability of p(yes)", _draw(calibration, None if threshold is None else yes_probability(threshold)))
    numbers = table("Existence questions by p(yes)", _COLUMNS, rows)
    return Section("calibration", "Can its yes be trusted?", f'<div class="pair">{chart}<div>{numbers}{note(*sentences)}</div></div>')


def _describe_threshold(answers: Sequence[Answer], threshold: float) -> str:
    said = f"The calibrated threshold is {threshold:+.2f} nats of log-odds, which is p(yes) {100 * yes_probability(threshold):.1f}%."
    moved, zero = balanced_accuracy_at(answers, threshold), balanced_accuracy_at(answers, 0.0)
    if moved is None or zero is None:
        return said
    return f"{said} Saying present above it has a balanced accuracy of {100 * moved:.1f}%, above zero {100 * zero:.1f}%."


def _draw(calibration: Calibration, threshold: float | None) -> str:
    bottom = _TOP + _SIZE

    def x(probability: float) -> float:
        return _LEFT + _SIZE * probability

    def y(rate: float) -> float:
        return bottom - _SIZE * rate

    parts = [*_axes()]
    parts.append(f'<line class="target" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    if threshold is not None:
        place = x(threshold)
        parts.append(f'<line class="threshold" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{_HEIGHT - 44}"/>')
        anchor, shift = ("end", -5) if threshold > 0.5 else ("start", 5)
        parts.append(f'<text class="label ink" x="{place + shift:.1f}" y="{_TOP + 12}" text-anchor="{anchor}">threshold</text>')
    points = " ".join(f"{x(item.mean_probability):.1f},{y(item.present_rate):.1f}" for item in calibration.bins)
    parts.append(f'<polyline class="curve colour-0" points="{points}"/>')
    parts += [
        f'<circle class="dot colour-0" cx="{x(item.mean_probability):.1f}" cy="{y(item.present_rate):.1f}" r="4.5"/>'
        for item in calibration.bins
    ]
    parts += _histogram(calibration)
    spoken = "; ".join(f"p {item.mean_probability:.2f}: {item.present_rate:.2f} of {item.num_questions}" for item in calibration.bins)
    label = text(f"Reliability diagram. Mean p(yes) and share of present videos by bin: {spoken}")
    return f'<svg class="square" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _axes() -> Iterator[str]:
    bottom, base = _TOP + _SIZE, _HEIGHT - 44
    yield '<text class="tick" x="4" y="13">share of videos with the subject, %</text>'
    for percent in (0, 25, 50, 75, 100):
        left, height = _LEFT + _SIZE * percent / 100, bottom - _SIZE * percent / 100
        yield f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIZE}" y1="{height}" y2="{height}"/>'
        yield f'<text class="tick" x="{_LEFT - 7}" y="{height + 4}" text-anchor="end">{percent}</text>'
        yield f'<text class="tick" x="{left}" y="{base + 17}" text-anchor="middle">{percent}</text>'
    yield f'<line class="axis" x1="{_LEFT}" x2="{_LEFT + _SIZE}" y1="{base}" y2="{base}"/>'
    yield f'<text class="tick" x="{_LEFT + _SIZE / 2}" y="{_HEIGHT - 8}" text-anchor="middle">p(yes), %; bars: number of questions</text>'


def _histogram(calibration: Calibration) -> Iterator[str]:
    base, most = _HEIGHT - 44, max(item.num_questions for item in calibration.bins)
    for item in calibration.bins:
        height = (_BARS - 14) * item.num_questions / most
        left, width = _LEFT + _SIZE * item.low + 2, _SIZE * (item.high - item.low) - 4
        yield f'<rect class="bar" x="{left:.1f}" y="{base - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        yield f'<text class="tick" x="{left + width / 2:.1f}" y="{base - height - 3:.1f}" text-anchor="middle">{item.num_questions}</text>'
