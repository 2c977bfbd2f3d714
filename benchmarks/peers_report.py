"""The peers' figures as a table, as JSON and as a plot."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.pairs import Bar, Call, Spread, update_share
from benchmarks.peers import EXACT, PEERS, REFERENCE
from benchmarks.side_by_side import PeerFigures, SideBySide
from cbpnet.host.atomic import write_atomically
from cbpnet.host.tables import markdown_table

__all__ = ["BATCH", "bars", "plot_peers", "to_json", "to_markdown", "write_report"]

BATCH = 8  # images of a learning step
_OPERATIONS = ("gradients", "predict", "query", "update")
_COLOURS = ("#0072B2", "#E69F00")
_HEAD = (
    "peer",
    "gradients, ms an image (p5 to p95)",
    "over ours (p5 to p95)",
    "predict, ms",
    "over ours",
    "query, ms",
    "update, ms",
    "learning, MB",
    "cosine",
)
_BAR_HEAD = ("bar", "wanted", "found (p5 to p95)", "")


def write_report(runs: Sequence[SideBySide], conditions: Mapping[str, Any], folder: Path) -> None:
    """Write peers.md, peers.json and peers.png."""
    write_atomically(folder / "peers.md", to_markdown(runs, conditions).encode())
    write_atomically(folder / "peers.json", to_json(runs, conditions).encode())
    caption = "; ".join(str(value) for value in conditions.values())
    plot_peers(runs, caption, folder / "peers.png")


def to_markdown(runs: Sequence[SideBySide], conditions: Mapping[str, Any]) -> str:
    """Return the tables, one a number of threads, with bars, conditions and notes."""
    lines = ["# Peers side by side", "", *_listed(conditions)]
    for run in runs:
        lines += ["", f"## Threads: {run.threads}", ""]
        rows = [_row(run, name, figures) for name, figures in run.peers.items()]
        lines += [markdown_table(_HEAD, rows), ""]
        lines += [markdown_table(_BAR_HEAD, _bar_rows(run))]
        lines += ["", *(f"- {PEERS[name].title}: {why}" for name, why in run.absent.items())]
    shown = {name for run in runs for name in run.peers}
    lines += ["", "Notes", ""]
    lines += [
        f"- {peer.title}: {peer.note}."
        for name, peer in PEERS.items()
        if peer.note and name in shown
    ]
    return "\n".join(lines) + "\n"


def bars(run: SideBySide) -> dict[str, tuple[Bar, Spread]]:
    """Return what the figures are to keep to, and what was found; a missing peer's are left out."""

    def ratio(over: str, over_operation: str, under: str, under_operation: str) -> Spread | None:
        return run.ratios.get((Call(over, over_operation), Call(under, under_operation)))

    share = ratio(REFERENCE, "update", REFERENCE, "gradients")
    if share is not None:
        median, p5, p95 = (
            100 * update_share(value, BATCH) for value in (share.median, share.p5, share.p95)
        )
        share = Spread(median, p5, p95, share.count)
    wanted = {
        "gradients over predict, int8": (
            Bar("at most", 2.3),
            ratio(REFERENCE, "gradients", REFERENCE, "predict"),
        ),
        "gradients, PyTorch eager over int8": (
            Bar("at least", 3),
            ratio(EXACT, "gradients", REFERENCE, "gradients"),
        ),
        "gradients, ExecuTorch's own without delegate over int8": (
            Bar("at least", 60),
            ratio("et-portable", "gradients", REFERENCE, "gradients"),
        ),
        "predict, fp32 bundle over int8": (
            Bar("at least", 1.5),
            ratio("fp32", "predict", REFERENCE, "predict"),
        ),
        f"update's share of a step of {BATCH} images, per cent": (Bar("at most", 3), share),
    }
    return {title: (bar, found) for title, (bar, found) in wanted.items() if found is not None}


def to_json(runs: Sequence[SideBySide], conditions: Mapping[str, Any]) -> str:
    """Return everything as JSON; a ratio's key is "peer.operation/peer.operation"."""
    content = [
        {
            "threads": run.threads,
            "peers": {name: asdict(figures) for name, figures in run.peers.items()},
            "absent": run.absent,
            "ratios": {
                f"{'.'.join(over)}/{'.'.join(under)}": asdict(found)
                for (over, under), found in run.ratios.items()
            },
            "bars": {
                title: asdict(bar) | {"found": asdict(found), "holds": bar.holds(found.median)}
                for title, (bar, found) in bars(run).items()
            },
        }
        for run in runs
    ]
    return json.dumps({"conditions": conditions, "runs": content}, indent=2, default=str)


def plot_peers(runs: Sequence[SideBySide], caption: str, path: Path) -> None:
    """Draw the milliseconds of a learning image, on a logarithmic axis, and the ratios to ours."""
    names = [name for name in PEERS if any(name in run.peers for run in runs)]
    figure = Figure(figsize=(10, 1.6 + 0.5 * len(names)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(runs)
    for index, run in enumerate(runs):
        for place, name in enumerate(names):
            if name not in run.peers:
                continue
            spread = run.peers[name].times["gradients"]
            y = place + (index - (len(runs) - 1) / 2) * height
            label = f"{run.threads} threads" if run.threads > 1 else "1 thread"
            axes.barh(
                y,
                spread.median,
                height,
                color=_COLOURS[index % len(_COLOURS)],
                label=label if place == 0 else None,
            )
            axes.errorbar(
                spread.median,
                y,
                xerr=[[spread.median - spread.p5], [spread.p95 - spread.median]],
                color="#222222",
                linewidth=1,
            )
            ratio = run.ratios.get((Call(name, "gradients"), Call(REFERENCE, "gradients")))
            text = f"{spread.median:.1f} ms" + (f", x {ratio.median:.1f}" if ratio else "")
            axes.annotate(
                text, (spread.p95, y), (6, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_yticks(range(len(names)), [PEERS[name].title for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("forward and backward pass of one image, ms (median, p5 to p95)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    lines = textwrap.wrap(caption, 150, break_on_hyphens=False)
    figure.supxlabel("\n".join(lines), fontsize=8, color="#555555", x=0.01, ha="left")
    figure.savefig(path)


def _bar_rows(run: SideBySide) -> list[list[str]]:
    return [
        [
            title,
            f"{bar.kind} {bar.value:g}",
            _range(found),
            "holds" if bar.holds(found.median) else "**missed**",
        ]
        for title, (bar, found) in bars(run).items()
    ]


def _row(run: SideBySide, name: str, figures: PeerFigures) -> list[str]:
    cells = [PEERS[name].title]
    for operation in _OPERATIONS:
        spread = figures.times.get(operation)
        ratio = run.ratios.get((Call(name, operation), Call(REFERENCE, operation)))
        shown = _range if operation == "gradients" else _median
        cells.append(shown(spread) if spread else "")
        if operation in ("gradients", "predict"):
            cells.append(shown(ratio) if ratio else "1" if name == REFERENCE else "")
    return [*cells, f"{figures.learning_mb:.0f}", f"{figures.cosine:.4f}"]


def _median(found: Spread) -> str:
    return f"{found.median:.2f}"


def _range(found: Spread) -> str:
    digits = 3 - len(str(int(found.median)))
    shown = (f"{value:.{max(digits, 0)}f}" for value in (found.median, found.p5, found.p95))
    return "{} ({} to {})".format(*shown)


def _listed(conditions: Mapping[str, Any]) -> list[str]:
    return [f"- {name}: {value}" for name, value in conditions.items()]
