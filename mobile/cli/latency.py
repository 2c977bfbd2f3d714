"""``cbpnet-mobile latency``: how fast, how hot and how hungry a bundle is on this board."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.host.atomic import make_folder
from cbpnet.host.progress import progress_bar
from cbpnet.host.tables import plain_table
from cbpnet.host.text import counted
from mobile.cli.bundle_options import BundleOptions, bundle_argument
from mobile.cli.option_groups import option, takes
from mobile.cli.options import print_json
from mobile.cli.parameters import FilePath

if TYPE_CHECKING:
    from cbpnet.run.training import Progress
    from mobile.measure.latency import AtThreads, Latency, Plan, Soak
    from mobile.measure.phases import PhaseFigures
    from mobile.measure.results import Result

__all__ = ["latency"]

_HEADER = ("threads", "method", "median", "p5", "p95", "images/s", "peak MB")
_TOLD = ("query", "features", "predict", "gradients", "update")


@dataclass(frozen=True)
class PlanOptions:
    """What is measured, and for how long."""

    threads: tuple[int, ...] = option(
        "--threads",
        type=click.IntRange(min=1),
        multiple=True,
        help="ExecuTorch's threads; may be repeated; default: 1 to the number of cores.",
    )
    runs: int = option(
        "--runs",
        type=click.IntRange(min=1),
        default=30,
        show_default=True,
        help="Warm calls of each method at each number of threads.",
    )
    soak: float = option(
        "--soak",
        type=click.FloatRange(min=0),
        default=0,
        help="Minutes of learning without a pause, to see whether the board throttles; default: "
        "none.",
    )
    rest: float = option(
        "--rest",
        type=click.FloatRange(min=0),
        default=5,
        show_default=True,
        help="Seconds of rest before and after.",
    )
    interval: float = option(
        "--interval",
        type=click.FloatRange(min=0.1),
        default=1,
        show_default=True,
        help="Seconds between two looks at the board.",
    )
    meter: Path | None = option(
        "--meter",
        type=FilePath(dir_okay=False),
        help="File of a power meter (CSV: time,watts), read at the end.",
    )

    def plan(self) -> "Plan":
        """Return the plan on this machine."""
        from mobile.device.cores import usable_cpus
        from mobile.measure.latency import Plan

        every = range(1, len(usable_cpus()) + 1)
        threads = tuple(sorted(set(self.threads))) or tuple(every)
        return Plan(threads, self.runs, 60 * self.soak, self.rest, self.interval, self.meter)


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile latency pets.pte --out results/latency.json
  cbpnet-mobile latency pets.pte --threads 4 --soak 20 --out results/soak.json
"""
)
@bundle_argument
@takes(measured=PlanOptions)
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    default=Path("results/latency.json"),
    show_default=True,
    help="Result to write, for `report`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def latency(bundle: Path, measured: PlanOptions, out: Path, as_json: bool) -> None:
    """Measure how fast, how hot and how hungry a bundle is on this board.

    Times and memory at each number of threads; temperature, clock, throttling and power before,
    meanwhile and after, as far as the board tells them. Other work on the board spoils the figures.
    """
    from mobile.measure.latency import measure_latency
    from mobile.measure.results import describe_bundle, take, write_result

    manifest = BundleOptions(bundle, threads=None, engine=None).program().manifest
    make_folder(out.parent)
    with ExitStack() as bars:
        found = measure_latency(bundle, measured.plan(), _one_bar_at_a_time(bars))
    result = take(describe_bundle(bundle, manifest), found)
    write_result(out, result)
    if as_json:
        print_json(asdict(result))
        return
    _print(result, found, measured.runs)
    click.echo(f"wrote {out}; next: cbpnet-mobile report {out.parent}")


def _one_bar_at_a_time(bars: ExitStack) -> "Callable[[str, int], Progress]":
    """Return what begins a bar for a part of the measurement, and closes the part's before."""

    def begin(part: str, steps: int) -> "Progress":
        bars.close()
        return bars.enter_context(progress_bar(part, steps, "step")).update

    return begin


def _print(result: "Result", found: "Latency", runs: int) -> None:
    from mobile.measure.phases import phase_figures

    board = result.board
    click.echo(
        f"{board.model}; {board.cpu}, {counted(board.cores, 'core')}, {board.memory_mb:.0f} MB; "
        f"{board.os}\n"
        f"{result.bundle.name}: {result.bundle.backbone}, {result.bundle.precision}; images a "
        f"call: {found.micro_batch}; milliseconds of {counted(runs, 'warm call')}\n"
    )
    rows = [row for at in found.at for row in _rows(at)]
    click.echo(plain_table(_HEADER, rows, words=2))
    for phase in phase_figures(found):
        click.echo(_describe(phase))
    if found.soak is not None:
        click.echo(_verdict(found.soak))
    if found.clock_jump:
        click.echo(f"note: the date was set by {found.clock_jump:+.0f} s meanwhile", err=True)
    if found.power_source and not found.power:
        click.echo(f"note: power is {found.power_source}", err=True)


def _rows(at: "AtThreads") -> list[list[str]]:
    """Return the table's rows of a number of threads."""
    memory = f"{at.memory.bare_mb + at.memory.peak_mb:.0f}"
    rows = [[str(at.threads), "load", f"{at.load_ms:.2f}", "", "", "", memory]]
    for name in (name for name in _TOLD if name in at.methods):
        timing = at.methods[name]
        times = (timing.median_ms, timing.p5_ms, timing.p95_ms)
        speed = timing.images_per_second
        rows.append(
            ["", name, *(f"{each:.2f}" for each in times), f"{speed:.1f}" if speed else "", ""]
        )
    return rows


def _describe(phase: "PhaseFigures") -> str:
    """Return what the board said of itself in a part of the measurement."""
    parts = [
        f"{phase.seconds:.0f} s",
        "temperature unknown"
        if phase.first_celsius is None
        else f"{phase.first_celsius:.1f} to {phase.most_celsius:.1f} °C",
        "clock unknown"
        if phase.least_megahertz is None
        else f"{phase.least_megahertz:.0f} to {phase.most_megahertz:.0f} MHz",
        "power unknown" if phase.watts is None else f"{phase.watts:.2f} W",
    ]
    if phase.least_available_mb is not None:
        parts.append(f"{phase.least_available_mb:.0f} MB of memory left")
    return f"{phase.name}: {', '.join(parts)}"


def _verdict(soak: "Soak") -> str:
    match soak.throttled:
        case None:
            word = "whether it throttled is not known, for this machine has no vcgencmd that tells"
        case True:
            word = f"it throttled: {', '.join(soak.flags)}"
        case False:
            word = "it did not throttle"
    if soak.earlier:
        word += f" (before the measurement, since its start: {', '.join(soak.earlier)})"
    if soak.slowdown is None:
        return f"soak: {word}"
    change = f"{100 * abs(soak.slowdown):.1f} % {'slower' if soak.slowdown > 0 else 'faster'}"
    return f"soak: {word}; the last fifth was {change} than the first"
