"""The report of an evaluation: a JSON and a CSV file, a Markdown table and plots in one folder."""

import csv
import dataclasses
import io
import json
import math
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cbpnet.host.atomic import make_folder, write_atomically
from cbpnet.host.errors import InputError
from cbpnet.host.packages import installed_version
from cbpnet.host.processor import cpu_name
from cbpnet.host.tables import markdown_table
from cbpnet.run.metrics import (
    MethodSummary,
    RunResult,
    Statistic,
    average_accuracy,
    average_incremental_accuracy,
    by_method,
    forgetting,
    learning_accuracy,
    summarise,
)

__all__ = ["format_table", "write_report"]

_NOTE = """\
Mean ± sample standard deviation over seeds. Accuracies are means over tasks, in per cent, on test
images of all classes learnt so far; forgetting is in points (less is better). Prompt selection is
the share of test images, after the last task, for which their own task's prompt was selected.
Trainable is trained parameters in per cent of the backbone's, both without head. Forwards are
passes through the backbone an image, to learn (an image of a training step counts three) and to
predict; adapted are the lessons in which a one-pass learner adapted the features.
"""


def write_report(
    results: Sequence[RunResult], conditions: Mapping[str, object], folder: Path
) -> list[Path]:
    """Write the report of all runs into `folder` (made where missing) and return its files.

    They are `results.json` (conditions, environment, every run with its matrix, the summary),
    `results.csv` (a row for each run), `table.md` and, where matplotlib is installed,
    `methods.png`, `accuracy_over_tasks.png` and a `matrix-METHOD-seedN.png` for each run. Each file
    is written atomically.

    Raises:
        InputError: there are no runs, a method has a seed twice, runs differ in the number of
            tasks or two methods in nothing but punctuation, or the folder cannot be written.
    """
    _check(results)
    make_folder(folder)
    summaries = summarise(results)
    texts = {
        "results.json": _as_json(results, summaries, conditions),
        "results.csv": _as_csv(results),
        "table.md": _as_markdown(summaries, conditions),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())

    plots = _plot(results, summaries, conditions, folder)
    return [folder / name for name in texts] + plots


def _plot(
    results: Sequence[RunResult],
    summaries: Sequence[MethodSummary],
    conditions: Mapping[str, object],
    folder: Path,
) -> list[Path]:
    """Draw the plots and return their files; none without matplotlib."""
    try:
        from cbpnet.study.plots import plot_accuracy_over_tasks, plot_matrix, plot_methods
    except ModuleNotFoundError:
        return []  # a device has none

    caption = "; ".join(f"{name}: {value}" for name, value in conditions.items())
    spread = caption + "; bands and whiskers: one standard deviation over seeds"
    plot_methods(summaries, folder / "methods.png", spread)
    plot_accuracy_over_tasks(results, folder / "accuracy_over_tasks.png", spread)
    matrices = [f"matrix-{_slug(run.method)}-seed{run.seed}.png" for run in results]
    for run, name in zip(results, matrices, strict=True):
        plot_matrix(run, folder / name, caption)
    return [folder / name for name in ["methods.png", "accuracy_over_tasks.png", *matrices]]


def _check(results: Sequence[RunResult]) -> None:
    if not results:
        raise InputError("there are no results to report; run at least one method")
    sizes = {len(run.matrix) for run in results}
    if len(sizes) > 1:
        raise InputError(f"the runs have {sorted(sizes)} tasks; a report needs the same tasks")
    names: dict[str, str] = {}
    for method, runs in by_method(results).items():
        seeds = [run.seed for run in runs]
        if len(set(seeds)) < len(seeds):
            raise InputError(f"{method} has the seeds {seeds}; each may occur once")
        other = names.setdefault(_slug(method), method)
        if other != method:
            raise InputError(f"the methods {other!r} and {method!r} need file names that differ")


def format_table(summaries: Sequence[MethodSummary]) -> str:
    """Return an aligned Markdown table, a row for each method, that also reads in a terminal."""
    rows = [[cell(summary) for _, cell in _COLUMNS] for summary in summaries]
    return markdown_table([name for name, _ in _COLUMNS], rows, words=2) + "\n"


def _cell(statistic: Statistic | None, scale: float = 100.0, digits: int = 2) -> str:
    if statistic is None:
        return "-"
    mean = f"{statistic.mean * scale:.{digits}f}"
    if statistic.deviation is None:
        return mean
    return f"{mean} ± {statistic.deviation * scale:.{digits}f}"


def _share(statistic: Statistic | None) -> str:
    return "-" if statistic is None else f"{statistic.mean * 100:.3f}"


_COLUMNS: tuple[tuple[str, Callable[[MethodSummary], str]], ...] = (
    ("method", lambda summary: summary.method),
    ("learns by", lambda summary: summary.kind.value),
    ("average accuracy", lambda summary: _cell(summary.average_accuracy)),
    ("incremental accuracy", lambda summary: _cell(summary.average_incremental_accuracy)),
    ("forgetting", lambda summary: _cell(summary.forgetting)),
    ("learning accuracy", lambda summary: _cell(summary.learning_accuracy)),
    ("prompt selection", lambda summary: _cell(summary.prompt_selection)),
    ("adapted", lambda summary: _cell(summary.lessons_adapted, scale=1.0, digits=1)),
    ("forwards to learn", lambda summary: _cell(summary.learning_forwards, 1.0, digits=1)),
    ("to predict", lambda summary: _cell(summary.predicting_forwards, 1.0, digits=0)),
    ("train seconds", lambda summary: _cell(summary.train_seconds, scale=1.0, digits=1)),
    ("trainable %", lambda summary: _share(summary.trainable_share)),
)


def _as_markdown(summaries: Sequence[MethodSummary], conditions: Mapping[str, object]) -> str:
    listed = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
    return f"# Results\n\n{format_table(summaries)}\n{_NOTE}\n## Conditions\n\n{listed}"


def _as_csv(results: Sequence[RunResult]) -> str:
    rows = [_row(run) for run in results]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(run: RunResult) -> dict[str, object]:
    return {
        "method": run.method,
        "kind": run.kind.value,
        "seed": run.seed,
        "average_accuracy": average_accuracy(run.matrix),
        "average_incremental_accuracy": average_incremental_accuracy(run.matrix),
        "forgetting": forgetting(run.matrix),
        "learning_accuracy": learning_accuracy(run.matrix),
        "prompt_selection": run.prompt_selection,
        "trainable_share": run.trainable_share,
        "lessons_adapted": run.lessons_adapted,
        "learning_forwards": run.learning_forwards,
        "predicting_forwards": run.predicting_forwards,
        "train_seconds": run.train_seconds,
        "eval_seconds": run.eval_seconds,
        "peak_rss_mb": run.peak_rss_mb,
    }


def _as_json(
    results: Sequence[RunResult],
    summaries: Sequence[MethodSummary],
    conditions: Mapping[str, object],
) -> str:
    document = {
        "conditions": conditions,
        "environment": _environment(),
        "runs": [
            _row(run) | {"matrix": run.matrix, "test_images": run.test_images, "extra": run.extra}
            for run in results
        ],
        "summary": [dataclasses.asdict(summary) for summary in summaries],
    }
    return json.dumps(_plain(document), indent=2, sort_keys=True, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """Return `value` in JSON's own types: NaN and infinity become null, unknown types text."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case float():
            return value if math.isfinite(value) else None
        case str() | int() | None:
            return value
        case _:
            return str(value)


def _environment() -> dict[str, object]:
    return {
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "timm": installed_version("timm"),
        "torch": torch.__version__,
    }


def _slug(method: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")
