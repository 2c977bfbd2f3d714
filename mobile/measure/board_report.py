"""The page and the JSON that put the results of boards side by side."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cbpnet.host.atomic import make_folder, write_atomically
from mobile.measure.accuracy import Accuracy
from mobile.measure.glance import glance
from mobile.measure.latency import Latency
from mobile.measure.learning import Learning
from mobile.measure.pages import render_page
from mobile.measure.phases import phase_figures
from mobile.measure.plots import accuracy_charts, course_charts, speed_charts
from mobile.measure.protocol import ProtocolFigures
from mobile.measure.results import Bundle, Figures, Result, find_results
from mobile.measure.series import Series

__all__ = ["Entry", "collect", "write_report"]

FORMAT = "cbpnet-mobile board report"

_Kind = TypeVar("_Kind", bound=Figures)


@dataclass(frozen=True)
class Entry:
    """A result, its file, and what the page calls its board, its bundle and itself."""

    board: str
    bundle: str
    label: str
    file: Path
    result: Result


def collect(paths: Sequence[Path]) -> list[Entry]:
    """Return the results in folders and files; each of ``paths`` is of one board or more.

    A label names the board, the bundle where there are several, and the file where that is not
    enough.

    Raises:
        InputError: one of them holds no result, or one is damaged.
    """
    found = {
        file.resolve(): (path, file, result)
        for path in paths
        for file, result in find_results(path).items()
    }
    places = [
        (path.resolve().name, result.board.model, result.board.host)
        for path, _, result in found.values()
    ]
    boards = _board_labels(list(dict.fromkeys(places)))
    bundles = _bundle_labels([result.bundle for _, _, result in found.values()])
    entries = []
    for place, (_, file, result) in zip(places, found.values(), strict=True):
        board, bundle = boards[place], bundles[result.bundle.digest]
        label = f"{board}, {bundle}" if len(bundles) > 1 else board
        entries.append(Entry(board, bundle, label, file, result))
    kinds = Counter((entry.label, type(entry.result.figures)) for entry in entries)
    return [
        Entry(entry.board, entry.bundle, f"{entry.label}, {_short(entry.file)}", entry.file, result)
        if kinds[entry.label, type(result.figures)] > 1
        else entry
        for entry in entries
        for result in [entry.result]
    ]


def write_report(entries: Sequence[Entry], page: Path) -> list[Path]:
    """Write the page, and the same as JSON beside it, and return both.

    Raises:
        InputError: a file cannot be written.
    """
    make_folder(page.parent)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    notes = _notes(entries)
    latencies = _of_kind(entries, Latency)
    pairs = _pairs(entries)
    several = len({bundle for _, bundle in pairs}) > 1
    rows = [
        glance(
            f"{board}, {bundle}" if several else board,
            [e.result.figures for e in entries if (e.board, e.bundle) == (board, bundle)],
        )
        for board, bundle in pairs
    ]
    text = render_page(
        "board_report.html",
        made=made,
        notes=notes,
        rows=rows,
        boards=list({entry.board: entry.result for entry in entries}.items()),
        bundles=list({entry.bundle: entry.result.bundle for entry in entries}.items()),
        latencies=[(one.label, one.figures, phase_figures(one.figures)) for one in latencies],
        accuracies=_of_kind(entries, Accuracy),
        protocols=_of_kind(entries, ProtocolFigures),
        lessons=_of_kind(entries, Learning),
        speed=speed_charts(latencies),
        course=course_charts(latencies),
        accuracy=accuracy_charts(_of_kind(entries, Accuracy), _of_kind(entries, ProtocolFigures)),
    )
    content = {
        "format": FORMAT,
        "made": made,
        "notes": notes,
        "summary": [asdict(row) for row in rows],
        "results": [
            {
                "label": entry.label,
                "file": str(entry.file),
                "kind": entry.result.kind,
                **asdict(entry.result),
            }
            for entry in entries
        ],
    }
    data = page.with_suffix(".json")
    write_atomically(page, text.encode())
    write_atomically(data, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return [page, data]


def _of_kind(entries: Sequence[Entry], kind: type[_Kind]) -> list[Series[_Kind]]:
    """Return the figures of a kind: a colour for each board and bundle, a dash for each result."""
    colours = {pair: number for number, pair in enumerate(_pairs(entries))}
    seen: Counter[tuple[str, str]] = Counter()
    series: list[Series[_Kind]] = []
    for entry in entries:
        pair = entry.board, entry.bundle
        if isinstance(entry.result.figures, kind):
            series.append(Series(entry.label, colours[pair], seen[pair], entry.result.figures))
            seen[pair] += 1
    return series


def _pairs(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((entry.board, entry.bundle) for entry in entries))


def _board_labels(places: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """Return a label for each folder, model and host: the model, and as much as tells it apart."""
    models = Counter(model for _, model, _ in places)
    named = Counter((folder, model) for folder, model, _ in places)
    labels = {}
    for folder, model, host in places:
        extra = [folder] if models[model] > 1 else []
        extra += [host] if named[folder, model] > 1 else []
        labels[folder, model, host] = f"{model} ({', '.join(extra)})" if extra else model
    return labels


def _bundle_labels(bundles: Sequence[Bundle]) -> dict[str, str]:
    different = {bundle.digest: bundle.name for bundle in bundles}
    names = Counter(different.values())
    return {
        digest: f"{name} {digest[:6]}" if names[name] > 1 else name
        for digest, name in different.items()
    }


def _notes(entries: Sequence[Entry]) -> list[str]:
    """Return what a reader must know before comparing."""
    notes = []
    others = dict.fromkeys(e.board for e in entries if not e.result.board.raspberry_pi)
    if others:
        notes.append(
            "Not taken on a Raspberry Pi, and no guide to one: every figure labelled "
            f"{', '.join(f'“{other}”' for other in others)}."
        )
    bundles = dict.fromkeys(entry.bundle for entry in entries)
    if len(bundles) > 1:
        notes.append(
            f"These are results of {len(bundles)} bundles ({', '.join(bundles)}): compare figures "
            "of the same bundle only."
        )
    for one in _of_kind(entries, Latency):
        if one.figures.clock_jump:
            notes.append(
                f"{one.label}: the date was set by {one.figures.clock_jump:+.0f} s during the "
                "measurement; durations are not affected."
            )
        if one.figures.power_source and not one.figures.power:
            notes.append(f"{one.label}: power is {one.figures.power_source}.")
    return notes


def _short(file: Path) -> str:
    """Return what tells a file from another: its name, or its folder's where all have one."""
    return file.parent.name if file.stem == "board_result" else file.stem
