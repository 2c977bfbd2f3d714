"""Charts: where marks, points and bars are."""

from itertools import pairwise

import pytest

from mobile.measure.charts import Bar, BarChart, Line, LineChart, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1.0]),
        (0, 84, [0, 25, 50, 75, 100]),
        (45.3, 83.9, [45, 50, 55, 60, 65, 70, 75, 80, 85]),
        (0, 0.0034, [0, 0.001, 0.002, 0.003, 0.004]),
        (0, 30_000, [0, 10_000, 20_000, 30_000]),
    ],
)
def test_marks_are_round_and_reach_around_the_values(low, high, expected) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    if len(expected) <= 5:
        assert found == pytest.approx(expected)
    steps = {round(after - before, 9) for before, after in pairwise(found)}
    assert len(steps) == 1


@pytest.mark.parametrize(("low", "high"), [(0, 0), (5, 5), (-3, -3)])
def test_marks_of_one_value(low, high) -> None:
    found = ticks(low, high)
    assert found[0] <= low <= found[-1]
    assert found[0] < found[-1]


def test_points_are_where_the_marks_say() -> None:
    line = Line("a", [(1.0, 10.0), (2.0, 20.0), (4.0, 40.0)], 0)
    chart = LineChart("t", "threads", [line], whole=True)
    places = chart.places(line)
    assert [x for x, _ in places] == pytest.approx([x for x, _ in chart.x_ticks])
    assert [text for _, text in chart.x_ticks] == ["1", "2", "4"]
    heights = {text: y for y, text in chart.y_ticks}
    assert heights["0"] == chart.bottom
    for (_, y), text in zip(places, ("10", "20", "40"), strict=True):
        assert y == pytest.approx(heights[text])
    assert chart.left < places[0][0] < places[-1][0] < chart.right
    assert chart.path(line).split(" ")[0] == f"{places[0][0]:.1f},{places[0][1]:.1f}"


def test_a_long_line_is_averaged_and_a_single_point_is_drawn() -> None:
    points = [(float(number), float(number % 2)) for number in range(3200)]
    line, point = Line("a", points, 0), Line("b", [(5.0, 3.0)], 1)
    chart = LineChart("t", "minutes", [line])
    places = chart.places(line)
    assert len(places) == 160
    halves = [y for y, text in chart.y_ticks if text == "0.5"]
    assert {round(y, 6) for _, y in places} == {round(halves[0], 6)}
    alone = LineChart("t", "minutes", [point])
    ((x, y),) = alone.places(point)
    assert alone.left <= x <= alone.right
    assert 0 < y < alone.bottom


def test_bars_are_as_long_as_their_values() -> None:
    chart = BarChart("t", [Bar("a", 10, "10", 0), Bar("b", 5, "5", 1), Bar("c", 0, "0", 2)])
    assert [length for _, length in chart.rows] == [1.0, 0.5, 0.0]
    assert [length for _, length in BarChart("t", [Bar("a", 0, "0", 0)]).rows] == [0.0]
