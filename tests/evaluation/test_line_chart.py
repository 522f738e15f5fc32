"""The line chart: where lines, labels and targets are drawn."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.evaluation.line_chart import Line, draw_lines


def points_of(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline class="curve[^>]*points="([^"]*)"', svg)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]


def labels_of(svg: str) -> dict[str, float]:
    """Heights of the labels at the ends of lines by text."""
    return {text: float(height) for height, text in re.findall(r'<text class="(?:label[^"]*|tick)" x="360" y="([^"]*)">([^<]*)<', svg)}


def test_higher_values_are_drawn_higher_and_later_steps_further_right() -> None:
    lines = [Line(name="loss", points=[(10, 4.0), (20, 2.0), (40, 1.0)]), Line(name="lm", points=[(10, 3.0)], dashed=True)]
    svg = draw_lines("Stage 1", lines, unit="nats")
    (first, second, third), ((left, height),) = points_of(svg)
    assert first[0] < second[0] < third[0] and first[1] < second[1] < third[1]
    assert left == first[0] and first[1] < height < second[1]
    assert svg.count("dashed") == 1


def test_decades_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    svg = draw_lines("Stage 1", [Line(name="coefficient", points=[(1, 1e-8), (2, 1e-5), (3, 1e-2)])], unit="", logarithmic=True)
    ((_, low), (_, middle), (_, high)) = points_of(svg)[0]
    assert low - middle == pytest.approx(middle - high, abs=0.2) and middle < low
    assert ">1e-8<" in svg


def test_the_target_lies_on_its_value_and_labels_do_not_overlap() -> None:
    lines = [Line(name=f"{index}.self", points=[(10, 50.0 + 0.1 * index)]) for index in range(8)]
    svg = draw_lines("Stage 1", lines, unit="%", top=100.0, target=50.0)
    (height,) = re.findall(r'<line class="target"[^>]*y1="([^"]*)"', svg)
    assert float(height) == points_of(svg)[0][0][1]
    heights = sorted(labels_of(svg).values())
    assert len(heights) == 9 and "target 50" in labels_of(svg)
    assert min(later - earlier for earlier, later in itertools.pairwise(heights)) > 12.5


def test_tiny_values_get_a_factor_in_the_unit_instead_of_long_numbers() -> None:
    svg = draw_lines("Stage 1", [Line(name="SPR", points=[(10, 2.4e-5)])], unit="nats")
    assert ">nats × 1e-5<" in svg and "e-05" not in re.sub(r'aria-label="[^"]*"', "", svg)


def test_names_are_escaped() -> None:
    svg = draw_lines('<"a">', [Line(name="<b>", points=[(1, 1)])], unit="<c>")
    assert ElementTree.fromstring(svg).get("aria-label") == '<"a"> in <c>: <b> from 1 to 1'


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=600), st.booleans())
@pytest.mark.filterwarnings("error")
def test_any_curve_stays_inside_its_picture(values: list[float], logarithmic: bool) -> None:
    values = [10 ** (value / 1e5) for value in values] if logarithmic else values
    svg = draw_lines("loss", [Line(name="loss", points=list(enumerate(values, start=1)))], unit="nats", logarithmic=logarithmic)
    ElementTree.fromstring(svg)
    (line,) = points_of(svg)
    assert len(line) <= 240
    assert all(45 <= x <= 350 and 0 <= y <= 200 for x, y in line)
