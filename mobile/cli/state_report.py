"""What a state says of itself, as JSON and in words."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cbpnet.host.tables import plain_table
from cbpnet.host.text import counted, listed, printable
from mobile.cli.correction import event_time
from mobile.cli.lesson_report import reason_words
from mobile.cli.options import print_note

if TYPE_CHECKING:
    from cbpnet.method.state import HostState
    from cbpnet.run.advice import Recall
    from cbpnet.run.journal import Journal

__all__ = ["state_json", "state_text"]


def state_json(path: Path, recall: "Sequence[Recall] | None") -> dict[str, Any]:
    """Return what a state file holds.

    ``recall`` says how the images in its journal are classified; None if that was not asked.

    Raises:
        InputError: the file is no intact state.
    """
    from cbpnet.run.state_file import load_with_journal
    from mobile.device.saved import journal_of, progress_of

    state, info, arrays = load_with_journal(path, print_note)
    journal = journal_of(state, info, arrays)
    progress = progress_of(info)
    judged = {one.label: one for one in recall or ()}
    counts = state["classes.count"].astype(int).tolist()
    found: dict[str, Any] = {
        "state": str(path),
        "file_bytes": path.stat().st_size,
        "backbone": info.backbone,
        "backbone_weights": info.weights,
        "image_size": info.preprocessing.image_size,
        "generation": progress.generation,
        "capacity": info.classes,
        "free": info.classes - len(info.class_names),
        "tasks": None if info.config.one_pass else info.tasks,
        "lessons": state.known_tasks,
        "kept_a_class": 0 if progress.kept is None else progress.kept.limit,
        "classes": [
            {"label": name, "images": images, "left_out": _left_out(judged.get(name))}
            for name, images in zip(info.class_names, counts, strict=False)
        ],
        "accuracy": _accuracy(recall or ()),
    }
    return found if journal is None else found | _journal_json(journal) | _readout_json(state)


def state_text(found: Mapping[str, Any]) -> str:
    """Return in words what `state_json` found."""
    tasks = "" if found["tasks"] is None else f", room for {counted(found['tasks'], 'task')}"
    lines = [
        f"{found['state']}: what {found['backbone']} with weights {found['backbone_weights']} has "
        f"learnt, {found['file_bytes'] / 1e6:.2f} MB, saved {counted(found['generation'], 'time')}",
        f"{counted(len(found['classes']), 'class')} of {found['capacity']}, {found['free']} are "
        f"free; {counted(found['lessons'], 'lesson' if found['tasks'] is None else 'task')}{tasks}",
        *_journal_lines(found),
    ]
    if found["kept_a_class"]:
        lines.append(f"kept beside it: up to {counted(found['kept_a_class'], 'picture')} a class")
    if found["classes"]:
        lines += ["", _table(found["classes"], found["accuracy"])]
    return "\n".join(lines)


def _left_out(one: "Recall | None") -> dict[str, Any] | None:
    if one is None or one.right is None:
        return None
    return {"right": one.right, "images": one.images, "confused": one.confused}


def _accuracy(recall: "Sequence[Recall]") -> float | None:
    """Return the share of images that are right, of those that could be judged, in [0, 1]."""
    judged = [(one.right, one.images) for one in recall if one.right is not None]
    images = sum(of for _, of in judged)
    return sum(right for right, _ in judged) / images if images else None


def _journal_json(journal: "Journal") -> dict[str, Any]:
    from cbpnet.run.journal import Taught
    from cbpnet.run.lesson import ADAPTING

    lessons = [event for event in journal.in_force if isinstance(event, Taught)]
    return {
        "adapted": [
            {"lesson": number, "time": event_time(one), "on": one.names, "reason": one.reason}
            for number, one in enumerate(lessons, 1)
            if one.reason in ADAPTING
        ],
        "journal": {
            "bytes": journal.bytes,
            "limit": journal.limit,
            "in_force": journal.head,
            "settled": journal.settled,
            "undone": len(journal.events) - journal.head,
        },
    }


def _readout_json(state: "HostState") -> dict[str, Any]:
    threshold = state["unknown.threshold"].item()
    return {
        "readout": {
            "prior": state["readout.prior"].item(),
            "scale": state["readout.scale"].item(),
            "unknown_above": threshold if math.isfinite(threshold) else None,
        }
    }


def _journal_lines(found: Mapping[str, Any]) -> list[str]:
    if "journal" not in found:
        return ["a bundle with tasks keeps no journal"]
    journal, readout = found["journal"], found["readout"]
    adapted = [
        f"adapted in lesson {one['lesson']}, {one['time'][:16]} UTC, on {listed(one['on'])} "
        f"({reason_words(one['reason'])})"
        for one in found["adapted"]
    ]
    above = readout["unknown_above"]
    return [
        *adapted,
        f"the journal keeps {journal['bytes'] / 1e6:.2f} of at most {journal['limit'] / 1e6:.1f} "
        f"MB: {counted(journal['in_force'], 'event')} in force, {journal['settled']} of them "
        f"settled; {journal['undone']} undone",
        f"solved with prior {readout['prior']:g}, scale {readout['scale']:g}; "
        + ("no image is unknown" if above is None else f"unknown above a score of {above:.2f}"),
    ]


def _table(classes: Sequence[Mapping[str, Any]], accuracy: float | None) -> str:
    """Return a row for each class, and where its images were judged, the worst first."""
    if accuracy is None:
        counts = [(printable(one["label"]), str(one["images"])) for one in classes]
        return plain_table(("class", "images"), counts)

    def share(one: Mapping[str, Any]) -> float:
        judged = one["left_out"]
        return 2 if judged is None else judged["right"] / judged["images"]

    rows = []
    for one in sorted(classes, key=share):
        judged = one["left_out"] or {"right": "-", "images": "-", "confused": None}
        figures = str(one["images"]), f"{judged['right']} of {judged['images']}"
        rows.append((printable(one["label"]), *figures, printable(judged["confused"] or "-")))
    header = ("class", "images", "right, left out", "else most like")
    return f"{plain_table(header, rows)}\n\n{100 * accuracy:.1f} % right, each image left out"
