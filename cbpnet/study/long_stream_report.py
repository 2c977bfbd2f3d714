"""The report of a long stream: tables, every figure as JSON, and plots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import numpy as np

from cbpnet.host.atomic import make_folder, write_atomically
from cbpnet.host.tables import markdown_table, mean_and_spread
from cbpnet.run.metrics import Matrix
from cbpnet.study.long_stream import LessonRecord, StreamContender, StreamRecord
from cbpnet.study.plasticity_report import mean_by_fifth

__all__ = ["format_long_stream", "write_long_stream"]

_NOTE = """\
Mean ± sample standard deviation over seeds. Learning accuracy is that on the test images of a
lesson's classes right after it, in per cent: "own" among the lesson's classes, over the first and
the last fifth of the stream and with the difference in points; "known" among all known classes,
over the whole stream. Final accuracy is on all test images, among all classes. Drift is how far a
lesson that adapts moves the features of fixed images, in per cent of their length. Differences are
within a seed, in points, to the contender that adapts to the same lessons and replaces no token,
starts from no new prompt and is no oracle.
"""

_Runs = Mapping[str, Sequence[StreamRecord]]


def format_long_stream(compared: Mapping[str, StreamContender], runs: _Runs) -> str:
    """Return the tables in Markdown, aligned so that they also read in a terminal.

    Raises `InputError` for a stream of fewer than five lessons.
    """
    tables = [_table(runs), _final_table(runs), _differences(compared, runs)]
    return "\n\n".join(table for table in tables if table) + "\n"


def write_long_stream(
    compared: Mapping[str, StreamContender],
    runs: _Runs,
    seeds: Sequence[int],
    conditions: Mapping[str, object],
    folder: Path,
) -> list[Path]:
    """Write the report into a folder, made where missing, and return its files.

    They are ``table.md``, ``results.json`` with every lesson of every run and, where matplotlib is
    installed, plots of the learning accuracy along the stream.
    """
    make_folder(folder)
    listed = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
    tables = format_long_stream(compared, runs)
    document = {
        "conditions": dict(conditions),
        "seeds": list(seeds),
        "contenders": {name: asdict(contender) for name, contender in compared.items()},
        "runs": {name: [asdict(record) for record in records] for name, records in runs.items()},
    }
    texts = {
        "table.md": f"# A long stream\n\n{tables}\n{_NOTE}\n## Conditions\n\n{listed}",
        "results.json": json.dumps(document, indent=1, default=str) + "\n",
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [*(folder / name for name in texts), *_plots(runs, conditions, folder)]


def _plots(runs: _Runs, conditions: Mapping[str, object], folder: Path) -> list[Path]:
    try:
        from cbpnet.study.plots import plot_stream
    except ModuleNotFoundError:
        return []  # a device has none

    caption = ", ".join(f"{name} {value}" for name, value in conditions.items())
    paths = []
    for among, name in (("the lesson's own", "own_accuracy"), ("all known", "accuracy")):
        curves = {contender: _along(records, name) for contender, records in runs.items()}
        window = max(1, next(iter(curves.values())).shape[1] // 6)
        path = folder / f"learning-{name.replace('_', '-')}.png"
        plot_stream(curves, path, window, f"among {among} classes; {caption}")
        paths.append(path)
    return paths


def _along(records: Sequence[StreamRecord], name: str) -> Matrix:
    """Return a figure of each seed's lessons, [S, T]."""
    return np.array([[getattr(one, name) for one in record.lessons] for record in records])


def _table(runs: _Runs) -> str:
    header = (
        "contender",
        "own: first fifth",
        "own: last fifth",
        "change",
        "known",
        "final",
        "lessons adapted",
        "drift %",
        "tokens replaced",
    )
    return markdown_table(header, [_row(name, records) for name, records in runs.items()])


def _row(name: str, records: Sequence[StreamRecord]) -> tuple[str, ...]:
    fifths = 100 * mean_by_fifth(_along(records, "own_accuracy"))
    return (
        name,
        mean_and_spread(fifths[:, 0].tolist()),
        mean_and_spread(fifths[:, -1].tolist()),
        mean_and_spread((fifths[:, -1] - fifths[:, 0]).tolist(), "+"),
        mean_and_spread(_known(records)),
        mean_and_spread(_final(records, "all")),
        f"{_along(records, 'adapted').sum(axis=1).mean():.1f}",
        mean_and_spread([_drift(record.lessons) for record in records]),
        f"{_along(records, 'replaced').sum(axis=1).mean():.1f}",
    )


def _final_table(runs: _Runs) -> str:
    """Return the final accuracy by data set."""
    names = dict.fromkeys(
        name
        for records in runs.values()
        for record in records
        for name in record.lessons[-1].running
    )
    rows = [
        [contender, *(mean_and_spread(_final(records, name)) for name in names)]
        for contender, records in runs.items()
    ]
    return markdown_table(["final accuracy", *names], rows)


def _differences(compared: Mapping[str, StreamContender], runs: _Runs) -> str:
    """Return what a contender gains within a seed over the plain one of its kind."""
    rows = []
    for name, contender in compared.items():
        alike = StreamContender(contender.kind, contender.any_number)
        plain = next((one for one, other in compared.items() if other == alike), name)
        if plain != name:
            pairs = (
                (_last_fifth(runs[name]), _last_fifth(runs[plain])),
                (_known(runs[name]), _known(runs[plain])),
                (_final(runs[name], "all"), _final(runs[plain], "all")),
            )
            gains = [[ours - theirs for ours, theirs in zip(*pair, strict=True)] for pair in pairs]
            rows.append([f"{name} less {plain}", *(mean_and_spread(gain, "+") for gain in gains)])
    header = ["difference within a seed", "own: last fifth", "known", "final"]
    return markdown_table(header, rows) if rows else ""


def _last_fifth(records: Sequence[StreamRecord]) -> list[float]:
    last: list[float] = (100 * mean_by_fifth(_along(records, "own_accuracy"))[:, -1]).tolist()
    return last


def _known(records: Sequence[StreamRecord]) -> list[float]:
    means: list[float] = (100 * _along(records, "accuracy").mean(axis=1)).tolist()
    return means


def _final(records: Sequence[StreamRecord], dataset: str) -> list[float]:
    return [100 * record.lessons[-1].running[dataset] for record in records]


def _drift(lessons: Sequence[LessonRecord]) -> float:
    drifts = [100 * lesson.drift for lesson in lessons if lesson.adapted]
    return fmean(drifts) if drifts else 0.0
