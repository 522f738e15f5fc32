"""Reading and drawing of training curves."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.evaluation.curves import Curve, draw_chart, read_curves


def test_reads_the_asked_keys_in_order_of_steps(tmp_path: Path) -> None:
    lines = [{"step": 20, "loss": 1.5, "lr": 1}, {"step": 10, "loss": 2.5, "active_rate": 0.5}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curves = read_curves(tmp_path / "metrics.jsonl", ("loss", "lm_loss", "active_rate"))
    assert {curve.name: curve.points for curve in curves} == {"loss": [(10, 2.5), (20, 1.5)], "active_rate": [(10, 0.5)]}


def test_restarts_and_interruptions_leave_no_trace(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 10, "loss": 9}\n{"step": 20, "loss": NaN}\nnonsense\n{"step": 10, "loss": 3}\n{"step": 30, "lo'
    )
    assert [curve.points for curve in read_curves(tmp_path / "metrics.jsonl", ("loss",))] == [[(10, 3)]]


def test_a_run_without_metrics_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "metrics.jsonl", ("loss",)) == []


def points_of(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline[^>]*points="([^"]*)"', svg)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]


def test_higher_values_are_drawn_higher_and_later_steps_further_right() -> None:
    svg = draw_chart("Stage 1", [Curve(name="loss", points=[(10, 4.0), (20, 2.0), (40, 1.0)]), Curve(name="lm", points=[(10, 3.0)])])
    (first, second, third), (other, _) = points_of(svg)
    assert first[0] < second[0] < third[0] and first[1] < second[1] < third[1]
    assert other[0] == first[0] and first[1] < other[1] < second[1]


def test_names_are_escaped() -> None:
    svg = draw_chart('<"a">', [Curve(name="<b>", points=[(1, 1)])])
    assert ElementTree.fromstring(svg).get("aria-label") == '<"a">: <b>'


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=600))
@pytest.mark.filterwarnings("error")
def test_any_curve_stays_inside_its_picture(values: list[float]) -> None:
    svg = draw_chart("loss", [Curve(name="loss", points=list(enumerate(values, start=1)))])
    ElementTree.fromstring(svg)
    (line,) = points_of(svg)
    assert len(line) <= 240
    assert all(40 <= x <= 360 and 0 <= y <= 190 for x, y in line)
