"""The grid: one thing at a time; and the table made of its figures."""

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.pairs import Spread
from benchmarks.peer_programs import Made
from benchmarks.scaling import BASE, Scaled, points, write_scaling

AXES = {"classes": ("classes", (10, 100)), "micro-batch": ("micro_batch", (1, 4))}


def test_one_thing_is_varied_at_a_time():
    shown = points(BASE, AXES)
    assert [point.model for point in shown] == [
        replace(BASE, classes=10),
        BASE,
        BASE,
        replace(BASE, micro_batch=4),
    ]
    assert [point.value for point in shown] == [10, 100, 1, 4]


def test_a_micro_batchs_figures_are_for_an_image(tmp_path: Path):
    def scaled(milliseconds, ratio):
        times = dict.fromkeys(
            ("gradients", "predict", "query", "update"), Spread(milliseconds, 0.0, 0.0, 1)
        )
        ratios = {"gradients": Spread(ratio, 0.0, 0.0, 1)} if ratio else {}
        return Scaled(
            Made(tmp_path, 70.0, 900.0), 7_000_000, {"gradients": 8_000_000}, 55.0, times, ratios
        )

    shown = points(BASE, AXES)
    found = {point.model: scaled(20.0, 2.0) for point in shown}
    found[BASE] = scaled(20.0, None)
    found[replace(BASE, micro_batch=4)] = scaled(60.0, 3.0)
    text = write_scaling(found, shown, {"cpu": "an abacus"}, tmp_path)
    last = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert last == ["", "4", "15.0", "0.75", "15.0", "60.00", "55", "7.0", "2", "70"]
    content = json.loads((tmp_path / "scaling.json").read_text())
    assert content["points"][3]["model"]["micro_batch"] == 4
    assert content["points"][3]["ratios"]["gradients"]["median"] == 3.0
    assert (tmp_path / "scaling.png").stat().st_size > 0
    assert (tmp_path / "scaling.md").read_text() == text
