"""The report of a long stream, against figures worked out by hand."""

import json

from cbpnet.study.long_stream import LessonRecord, StreamRecord, stream_contenders
from cbpnet.study.long_stream_report import format_long_stream, write_long_stream

COMPARED = {
    name: one
    for name, one in stream_contenders([0.5]).items()
    if name in ("never", "foreign", "foreign+cbp-0.5")
}


def record(own, known, final, drift=0.0, replaced=0):
    """Ten lessons; in per cent, of the first fifth and the rest."""
    adapted = drift > 0
    lessons = [
        LessonRecord(
            ("signs", "clothes")[number % 2],
            2,
            "foreign" if adapted else "never",
            adapted,
            0.5,
            None,
            known / 100,
            own[number >= 2] / 100,
            drift / 100,
            replaced,
            {"signs": final / 100, "all": final / 100 - 0.1} if number == 9 else {},
        )
        for number in range(10)
    ]
    return StreamRecord(tuple(lessons))


RUNS = {
    "never": [record((50, 60), 40, 30), record((52, 60), 42, 34)],
    "foreign": [record((80, 70), 60, 50, 10), record((84, 72), 60, 50, 20)],
    "foreign+cbp-0.5": [record((80, 75), 62, 53, 10, 1), record((84, 74), 66, 54, 12, 2)],
}


def test_the_tables_say_what_the_records_hold():
    rows = {}
    for line in format_long_stream(COMPARED, RUNS).splitlines():
        if line:
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            rows.setdefault(name, []).append(cells)
    assert rows["never"] == [
        [
            *("51.00 ± 1.41", "60.00 ± 0.00", "+9.00 ± 1.41", "41.00 ± 1.41", "22.00 ± 2.83"),
            *("0.0", "0.00 ± 0.00", "0.0"),
        ],
        ["32.00 ± 2.83", "22.00 ± 2.83"],
    ]
    assert rows["foreign+cbp-0.5"][0][5:] == ["10.0", "11.00 ± 1.41", "15.0"]
    # 75 - 70 and 74 - 72; 62 - 60 and 66 - 60; 53 - 50 and 54 - 50.
    assert rows["foreign+cbp-0.5 less foreign"] == [
        ["+3.50 ± 2.12", "+4.00 ± 2.83", "+3.50 ± 0.71"]
    ]
    assert not [name for name in rows if name.startswith(("never less", "foreign less"))]


def test_a_single_plain_contender_has_no_differences():
    tables = format_long_stream({"never": COMPARED["never"]}, {"never": RUNS["never"]})
    assert "difference" not in tables


def test_the_files_hold_every_lesson(tmp_path):
    written = write_long_stream(COMPARED, RUNS, [3, 4], {"lessons": 10}, tmp_path / "out")
    assert [path.name for path in written] == [
        "table.md",
        "results.json",
        "learning-own-accuracy.png",
        "learning-accuracy.png",
    ]
    assert all(path.stat().st_size for path in written)
    document = json.loads(written[1].read_text())
    assert document["seeds"] == [3, 4]
    assert document["contenders"]["foreign+cbp-0.5"]["replacement_rate"] == 0.5
    lesson = document["runs"]["foreign+cbp-0.5"][1]["lessons"][9]
    assert (lesson["own_accuracy"], lesson["replaced"], lesson["dataset"]) == (0.74, 2, "clothes")
    assert written[0].read_text().startswith("# A long stream\n\n| contender")
    assert "- lessons: 10" in written[0].read_text()
