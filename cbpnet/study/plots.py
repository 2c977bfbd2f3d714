"""The plots of an evaluation, as PNG files: one function a plot, no global matplotlib state."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from cbpnet.run.metrics import (
    Matrix,
    MethodKind,
    MethodSummary,
    RunResult,
    Statistic,
    accuracy_over_tasks,
    by_method,
)

__all__ = ["plot_accuracy_over_tasks", "plot_matrix", "plot_methods", "plot_stream"]

# Okabe and Ito's colours, which stay apart for colour-blind readers; yellow is too pale for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p")
_LINES = {MethodKind.GRADIENT: "-", MethodKind.CLOSED_FORM: "--", MethodKind.UPPER_BOUND: ":"}
_BARS = {
    MethodKind.GRADIENT: "#0072B2",
    MethodKind.CLOSED_FORM: "#9FC5E0",
    MethodKind.UPPER_BOUND: "#C8C8C8",
}
_INK = "#222222"


def plot_matrix(result: RunResult, path: Path, caption: str = "") -> None:
    """Draw the accuracy matrix of one run: rows are tasks learnt, columns tasks tested."""
    tasks = len(result.matrix)
    side = min(max(4.5, 1.8 + 0.48 * tasks), 10.0)
    figure = _figure(side + 0.8, side, f"{result.method}, seed {result.seed}", caption)
    axes = figure.add_subplot()
    image = axes.imshow(result.matrix * 100, cmap="cividis", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="accuracy (%)", shrink=0.85)
    if tasks <= 20:
        _write_cells(axes, result.matrix)
    axes.set_xlabel("tested on task")
    axes.set_ylabel("after learning task")
    numbered = range(0, tasks, -(-tasks // 20))
    axes.set_xticks(numbered, [str(task + 1) for task in numbered])
    axes.set_yticks(numbered, [str(task + 1) for task in numbered])
    axes.spines[:].set_visible(False)
    _save(figure, path)


def _write_cells(axes: Axes, matrix: Matrix) -> None:
    for (row, column), accuracy in np.ndenumerate(matrix):
        if not np.isnan(accuracy):
            ink = "white" if accuracy < 0.55 else "black"
            text = f"{accuracy * 100:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)


def plot_accuracy_over_tasks(results: Sequence[RunResult], path: Path, caption: str = "") -> None:
    """Draw, for every method, the average accuracy on the tasks learnt so far after each task.

    Lines are means over a method's seeds, bands one standard deviation to either side.
    """
    figure = _figure(9.0, 5.0, "Average accuracy on all tasks learnt so far", caption)
    axes = figure.add_subplot()
    for index, (method, runs) in enumerate(by_method(results).items()):
        curves = np.stack([accuracy_over_tasks(run.matrix) for run in runs])
        tasks = np.arange(1, curves.shape[1] + 1)
        _draw_curve(
            axes,
            tasks,
            curves * 100,
            method,
            colour=_COLOURS[index % len(_COLOURS)],
            line=_LINES[runs[0].kind],
            marker=_MARKERS[index % len(_MARKERS)],
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("tasks learnt")
    axes.set_ylabel("average accuracy (%)")
    _tidy(axes)
    figure.legend(loc="outside right upper", frameon=False, handlelength=3.2)
    _save(figure, path)


def plot_methods(summaries: Sequence[MethodSummary], path: Path, caption: str = "") -> None:
    """Draw final average accuracy and forgetting of all methods side by side as bars.

    Whiskers are one standard deviation over seeds; the shade says how a method learns.
    """
    height = 1.9 + 0.36 * len(summaries)
    figure = _figure(10.0, height, "Methods on the same tasks", caption)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_bars(left, summaries, [summary.average_accuracy for summary in summaries])
    left.set_xlabel("final average accuracy (%)")
    left.set_yticks(range(len(summaries)), [summary.method for summary in summaries])
    _draw_bars(right, summaries, [summary.forgetting for summary in summaries])
    right.set_xlabel("forgetting (points; less is better)")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        _tidy(axes, grid="x")
    kinds = dict.fromkeys(summary.kind for summary in summaries)
    handles = [left.barh([0], [0], color=_BARS[kind], label=kind.value) for kind in kinds]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(kinds), frameon=False)
    _save(figure, path)


def _draw_bars(
    axes: Axes, summaries: Sequence[MethodSummary], statistics: Sequence[Statistic]
) -> None:
    means = [statistic.mean * 100 for statistic in statistics]
    deviations = [(statistic.deviation or 0.0) * 100 for statistic in statistics]
    rows = range(len(summaries))
    colours = [_BARS[summary.kind] for summary in summaries]
    axes.barh(rows, means, color=colours, height=0.7)
    for row, mean, deviation in zip(rows, means, deviations, strict=True):
        if deviation:
            axes.errorbar(mean, row, xerr=deviation, color=_INK, capsize=3, linewidth=1.2)
        end = max(mean + deviation, 0.0)
        axes.annotate(
            f"{mean:.1f}", (end, row), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.margins(x=0.15)
    axes.set_ylim(len(summaries) - 0.4, -0.6)  # the first method on top


def plot_stream(
    curves: Mapping[str, npt.ArrayLike], path: Path, window: int = 20, caption: str = ""
) -> None:
    """Draw learning accuracy along a long stream of tasks, smoothed over consecutive tasks.

    Args:
        curves: by label, the accuracy in [0, 1] on each task right after it, [seeds, tasks].
        window: how many consecutive tasks are averaged; a point stands at the last of them.

    Raises:
        InputError: a curve is not [seeds, tasks], or the window is longer than the stream.
    """
    title = f"Accuracy on a task right after learning it, mean of {window} consecutive tasks"
    figure = _figure(9.0, 5.0, title, caption)
    axes = figure.add_subplot()
    for index, (label, accuracies) in enumerate(curves.items()):
        smooth = _moving_mean(label, np.asarray(accuracies, dtype=np.float64), window)
        tasks = np.arange(window, window + smooth.shape[1])
        line = ("-", "--", "-.", ":")[index // len(_COLOURS) % 4]
        _draw_curve(axes, tasks, smooth * 100, label, _COLOURS[index % len(_COLOURS)], line)
    axes.set_xlabel("tasks learnt")
    axes.set_ylabel("learning accuracy (%)")
    _tidy(axes)
    figure.legend(loc="outside right upper", frameon=False)
    _save(figure, path)


def _moving_mean(label: str, accuracies: Matrix, window: int) -> Matrix:
    if accuracies.ndim != 2 or not 1 <= window <= accuracies.shape[1]:
        raise InputError(
            f"the curve {label!r} has shape {accuracies.shape} and the window is {window}; "
            "a curve must be [seeds, tasks] and the window between 1 and the number of tasks"
        )
    windows = np.lib.stride_tricks.sliding_window_view(accuracies, window, axis=1)
    return np.asarray(windows.mean(axis=2))


def _draw_curve(
    axes: Axes,
    tasks: npt.NDArray[np.int64],
    curves: Matrix,
    label: str,
    colour: str,
    line: str,
    marker: str = "",
) -> None:
    mean = curves.mean(axis=0)
    axes.plot(tasks, mean, line, color=colour, label=label, marker=marker, ms=5, lw=1.7)
    if len(curves) > 1:
        deviation = curves.std(axis=0, ddof=1)
        band = (mean - deviation, mean + deviation)
        axes.fill_between(tasks, *band, color=colour, alpha=0.15, linewidth=0)


def _figure(width: float, height: float, title: str, caption: str) -> Figure:
    lines = textwrap.wrap(caption, int(width * 15), break_on_hyphens=False)
    figure = Figure(figsize=(width, height + 0.17 * len(lines)), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=12, color=_INK, x=0.01, ha="left")
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=8, color="#555555", x=0.01, ha="left")
    return figure


def _tidy(axes: Axes, grid: Literal["x", "y"] = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.8)


def _save(figure: Figure, path: Path) -> None:
    png = io.BytesIO()
    figure.savefig(png, format="png")
    write_atomically(path, png.getvalue())
