"""The table, the bars and the JSON of figures that were made up."""

import json
from pathlib import Path

import pytest

from benchmarks.pairs import Call, Spread
from benchmarks.peers_report import bars, to_json, to_markdown, write_report
from benchmarks.side_by_side import PeerFigures, SideBySide

CONDITIONS = {"cpu": "an abacus", "rounds": 3}


def same(value: float) -> Spread:
    return Spread(value, value, value, 3)


@pytest.fixture
def run() -> SideBySide:
    def figures(gradients, predict, cosine):
        times = {"gradients": same(gradients), "update": same(0.5)}
        if predict:
            times |= {"predict": same(predict), "query": same(predict)}
        return PeerFigures(12.0, 34.0, cosine, None, times)

    def pair(over, operation, under="int8", other=None):
        return Call(over, operation), Call(under, other or operation)

    return SideBySide(
        threads=2,
        peers={
            "int8": figures(20.0, 10.0, 0.99),
            "eager": figures(80.0, 40.0, 1.0),
            "et-portable": figures(900.0, None, 1.0),
        },
        absent={"compile": "there is no compiler"},
        ratios={
            pair("int8", "gradients", other="predict"): Spread(2.0, 1.9, 2.4, 3),
            pair("int8", "update", other="gradients"): same(0.025),
            pair("eager", "gradients"): Spread(4.0, 3.5, 4.5, 3),
            pair("eager", "predict"): same(4.0),
            pair("et-portable", "gradients"): same(45.0),
        },
    )


def test_a_row_has_a_peers_own_figures(run):
    rows = {
        cells[0]: cells
        for line in to_markdown([run], CONDITIONS).splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split("|")])
    }
    eager = rows["PyTorch eager, fp32"]
    assert eager[1:7] == [
        "80.0 (80.0 to 80.0)",
        "4.00 (3.50 to 4.50)",
        "40.00",
        "4.00",
        "40.00",
        "0.50",
    ]
    assert eager[7:] == ["34", "1.0000"]
    assert rows["cbpnet-mobile, int8 bundle"][2] == "1"
    assert rows["ExecuTorch's training path, no delegate"][3:6] == ["", "", ""]


def test_conditions_reasons_and_notes_stand_in_the_text(run):
    text = to_markdown([run], CONDITIONS)
    assert "- cpu: an abacus" in text
    assert "PyTorch torch.compile, fp32: there is no compiler" in text
    assert "TrainingModule and SGD" in text
    assert "torchao's prototype" not in text  # it was not measured


def test_bars_are_judged_by_the_median(run):
    found = bars(run)
    assert [bar.holds(figure.median) for bar, figure in found.values()] == [True, True, False, True]
    share = found["update's share of a step of 8 images, per cent"][1]
    assert share.median == pytest.approx(100 * 0.025 / 8.025)
    assert "predict, fp32 bundle over int8" not in found  # no such peer


def test_json_has_every_figure(run):
    content = json.loads(to_json([run], CONDITIONS))
    (first,) = content["runs"]
    assert content["conditions"] == CONDITIONS
    assert first["ratios"]["eager.gradients/int8.gradients"]["p5"] == 3.5
    assert first["peers"]["eager"]["times"]["predict"]["median"] == 40.0
    assert first["bars"]["gradients, PyTorch eager over int8"]["holds"] is True
    assert first["absent"] == run.absent


def test_table_json_and_plot_are_written(run, tmp_path: Path):
    write_report([run], CONDITIONS, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"peers.md", "peers.json", "peers.png"}
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")
