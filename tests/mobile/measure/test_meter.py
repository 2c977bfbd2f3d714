"""The file of a power meter."""

from datetime import UTC, datetime

import pytest

from cbpnet.host.errors import InputError
from mobile.measure.meter import Reading, read_meter


def test_watts_and_seconds(tmp_path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("\ufeffTime, Watts ,note\n100,2.5,x\n101.5,3\n", encoding="utf-8")
    assert read_meter(path) == [Reading(100.0, 2.5), Reading(101.5, 3.0)]


def test_volts_and_amperes_and_dates(tmp_path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("time,volts,amperes\n2026-01-02T03:04:05+00:00,5.0,0.5\n")
    seconds = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert read_meter(path) == [Reading(seconds, 2.5)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"has the columns \[\]; right would be the columns time,watts"),
        ("time,volts\n1,5\n", r"has the columns \['time', 'volts'\]"),
        ("time,watts\n1,5\n2,five\n", "line 3 of meter file .*could not convert"),
        ("time,watts\nnoon,5\n", "line 2 of meter file .*Invalid isoformat"),
        ("time,watts\n1\n", "line 2 of meter file"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, text, reason) -> None:
    path = tmp_path / "meter.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_meter(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_meter(tmp_path / "none.csv")
