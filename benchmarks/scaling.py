"""How time and memory of a bundle grow, one thing varied at a time."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.pairs import Call, Comparison, Spread, ratios, take_turns, times
from benchmarks.peer_programs import Made, get_program, get_step
from benchmarks.peers import PEERS, REFERENCE
from benchmarks.step import Model
from benchmarks.worker import Assignment, Worker
from cbpnet.host.atomic import write_atomically
from cbpnet.host.tables import markdown_table
from mobile.device.bundle import read_manifest

__all__ = ["AXES", "BASE", "Point", "Scaled", "measure_scaling", "points", "write_scaling"]

BASE = Model("vit_tiny_patch16_224", None, 224)

# What is varied, the model's field of it, and its values; the other fields are those of `BASE`.
AXES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "backbone": (
        "backbone",
        ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"),
    ),
    "image size, pixels": ("image_size", (160, 224, 288)),
    "micro-batch": ("micro_batch", (1, 4, 8)),
    "classes": ("classes", (10, 100, 1000)),
    "tasks": ("tasks", (5, 20, 100)),
}
_OPERATIONS = ("gradients", "predict", "query", "update")
_PAUSE, _CALLS = 0.02, 2
_IMAGES = 8
_HEAD = (
    "",
    "",
    "gradients, ms an image",
    "over the base's",
    "predict, ms an image",
    "update, ms",
    "learning, MB",
    "file, MB",
    "Mmacs an image",
    "export, s",
)


@dataclass(frozen=True)
class Point:
    """One value on one axis."""

    axis: str
    value: Any
    model: Model


@dataclass(frozen=True)
class Scaled:
    """A model's figures: milliseconds a call, and their ratios to the base model's in pairs."""

    made: Made
    file_bytes: int
    macs: dict[str, int]
    learning_mb: float
    times: dict[str, Spread]
    ratios: dict[str, Spread]


def points(base: Model, axes: Mapping[str, tuple[str, Sequence[Any]]]) -> list[Point]:
    """Return every axis's values, the base's own among them."""
    return [
        Point(axis, value, replace(base, **{field: value}))
        for axis, (field, values) in axes.items()
        for value in values
    ]


def measure_scaling(
    folder: Path,
    models: Sequence[Model],
    threads: int,
    rounds: int,
    say: Callable[[str], object] = lambda text: None,
    progress: Callable[[int], object] = lambda rounds: None,
) -> dict[Model, Scaled]:
    """Export what is not exported yet, and measure all models in turns with the first one."""
    chosen = list(dict.fromkeys(models))
    peer, workers, made = PEERS[REFERENCE], dict[str, Worker](), dict[str, Made]()
    names = {_name(model): model for model in chosen}
    steps = {}
    for name, model in names.items():
        say(f"exporting {name}")
        steps[name] = get_step(folder, model, _IMAGES, None, None)
        program = get_program(steps[name], REFERENCE, peer)
        assert program is not None  # the reference is a bundle
        made[name] = program
    with ExitStack() as stack:
        for name, step in steps.items():
            assignment = Assignment(peer.module, peer.variant, step, made[name].path, threads)
            workers[name] = Worker(assignment)
            stack.callback(workers[name].close)
        base = next(iter(names))
        pairs = [
            Comparison(Call(name, operation), Call(base, operation))
            for name in names
            for operation in _OPERATIONS
            if name != base
        ]

        def measure(call: Call, turn: int) -> float:
            time.sleep(_PAUSE)
            taken = workers[call.peer].times(call.operation, turn, 1, _CALLS)
            return sum(taken) / len(taken)

        samples = take_turns(pairs, rounds, measure, progress)
    spreads = times(samples)
    found = {(pair.over, pair.under): ratios(values) for pair, values in samples.items()}
    return {
        model: Scaled(
            made[name],
            made[name].path.stat().st_size,
            {key: info.macs for key, info in read_manifest(made[name].path).methods.items()},
            workers[name].learning_mb,
            {each: spreads[Call(name, each)] for each in _OPERATIONS},
            {
                each: found[Call(name, each), Call(base, each)]
                for each in _OPERATIONS
                if name != base
            },
        )
        for name, model in names.items()
    }


def write_scaling(
    found: Mapping[Model, Scaled],
    shown: Sequence[Point],
    conditions: Mapping[str, Any],
    folder: Path,
) -> str:
    """Write scaling.md, scaling.json and scaling.png; return the table."""
    listed = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
    rows, axis = [], ""
    for point in shown:
        rows.append(_row(point, found[point.model], point.axis if point.axis != axis else ""))
        axis = point.axis
    text = f"# Scaling\n\n{listed}\n{markdown_table(_HEAD, rows)}\n"
    content = [asdict(point) | asdict(found[point.model]) for point in shown]
    record = json.dumps({"conditions": conditions, "points": content}, indent=2, default=str)
    write_atomically(folder / "scaling.md", text.encode())
    write_atomically(folder / "scaling.json", record.encode())
    _plot(found, shown, folder / "scaling.png")
    return text


def _name(model: Model) -> str:
    return (
        f"{model.backbone}, {model.image_size} px, micro-batch {model.micro_batch}, "
        f"{model.classes} classes, {model.tasks} tasks"
    )


def _row(point: Point, scaled: Scaled, axis: str) -> list[str]:
    size = point.model.micro_batch
    ratio = scaled.ratios.get("gradients")
    return [
        axis,
        str(point.value),
        f"{scaled.times['gradients'].median / size:.1f}",
        f"{ratio.median / size:.2f}" if ratio else "1",
        f"{scaled.times['predict'].median / size:.1f}",
        f"{scaled.times['update'].median:.2f}",
        f"{scaled.learning_mb:.0f}",
        f"{scaled.file_bytes / 1e6:.1f}",
        f"{scaled.macs['gradients'] / size / 1e6:.0f}",
        f"{scaled.made.seconds:.0f}",
    ]


def _plot(found: Mapping[Model, Scaled], shown: Sequence[Point], path: Path) -> None:
    """Draw time an image and memory along each axis."""
    axes_names = list(dict.fromkeys(point.axis for point in shown))
    figure = Figure(figsize=(3.2 * len(axes_names), 5.6), dpi=150, layout="constrained")
    rows = figure.subplots(2, len(axes_names), squeeze=False)
    for column, name in enumerate(axes_names):
        here = [point for point in shown if point.axis == name]
        labels = [str(point.value).removeprefix("vit_").partition("_")[0] for point in here]
        upper, lower = rows[0][column], rows[1][column]
        for operation, colour in zip(
            _OPERATIONS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True
        ):
            heights = [
                found[point.model].times[operation].median
                / (1 if operation == "update" else point.model.micro_batch)
                for point in here
            ]
            upper.plot(labels, heights, "o-", color=colour, label=operation)
        lower.plot(
            labels, [found[point.model].learning_mb for point in here], "o-", color="#000000"
        )
        upper.set_yscale("log")
        lower.set_ylim(bottom=0)
        lower.set_xlabel(name)
        for each in (upper, lower):
            each.spines[["top", "right"]].set_visible(False)
            each.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    rows[0][0].set_ylabel("ms an image; update: ms")
    rows[1][0].set_ylabel("learning, MB above the runtime")
    rows[0][0].legend(frameon=False)
    figure.savefig(path)
