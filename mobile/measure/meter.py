"""The file of an external power meter: a CSV table of times and watts."""

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cbpnet.host.errors import InputError

__all__ = ["Reading", "read_meter"]

_RIGHT = "right would be the columns time,watts or time,volts,amperes"


@dataclass(frozen=True)
class Reading:
    """Power in watts, and when: in seconds."""

    seconds: float
    watts: float


def read_meter(path: Path) -> list[Reading]:
    """Return a meter's readings, in seconds since 1970.

    The first line names the columns: ``time``, in seconds since 1970 or as ISO 8601 (local time
    where it names no zone), and either ``watts``, or ``volts`` and ``amperes``. Others are ignored.

    Raises:
        InputError: the file cannot be read, lacks a column, or a line holds something else.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = {name.strip().lower(): name for name in rows.fieldnames or () if name}
            if "time" not in columns or not (
                "watts" in columns or {"volts", "amperes"} <= columns.keys()
            ):
                raise InputError(f"meter file {path} has the columns {list(columns)}; {_RIGHT}")
            return [_reading(path, rows.line_num, columns, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"meter file {path} cannot be read ({error}); {_RIGHT}") from error


def _reading(path: Path, line: int, columns: dict[str, str], row: dict[str, str]) -> Reading:
    try:
        if "watts" in columns:
            watts = float(row[columns["watts"]])
        else:
            watts = float(row[columns["volts"]]) * float(row[columns["amperes"]])
        return Reading(_seconds(row[columns["time"]].strip()), watts)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"line {line} of meter file {path} cannot be read ({error}); {_RIGHT}"
        ) from error


def _seconds(time: str) -> float:
    try:
        return float(time)
    except ValueError:
        return datetime.fromisoformat(time).timestamp()
