"""``cbpnet-mobile latency``: how fast, how hot and how hungry a bundle is on this board."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import click
from tqdm import tqdm

from cbpnet.host.atomic import make_folder
from cbpnet.run.training import Progress
from mobile.cli.bundle_options import bundle_argument, open_program
from mobile.device.cores import usable_cpus
from mobile.measure.latency import AtThreads, Plan, Soak, measure_latency
from mobile.measure.phases import PhaseFigures, phase_figures
from mobile.measure.results import describe_bundle, take, write_result

__all__ = ["latency"]

_ROW = "{:>7}  {:<12}{:>10}{:>10}{:>10}{:>11}{:>12}"
_TOLD = ("query", "predict", "gradients", "update")


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile latency pets.pte --out results/latency.json
  cbpnet-mobile latency pets.pte --threads 4 --soak 20 --out results/soak.json
"""
)
@bundle_argument
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    help="ExecuTorch's threads; may be repeated; default: 1 to the number of cores.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Warm calls of each method at each number of threads.",
)
@click.option(
    "--soak",
    type=click.FloatRange(min=0),
    default=0,
    help="Minutes of learning without a pause, to see whether the board throttles; default: none.",
)
@click.option(
    "--rest",
    type=click.FloatRange(min=0),
    default=5,
    show_default=True,
    help="Seconds of rest before and after.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1,
    show_default=True,
    help="Seconds between two looks at the board.",
)
@click.option(
    "--meter",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of a power meter (CSV: time,watts), read at the end.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("results/latency.json"),
    show_default=True,
    help="Result to write, for `report`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def latency(
    bundle: Path,
    threads: tuple[int, ...],
    runs: int,
    soak: float,
    rest: float,
    interval: float,
    meter: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Measure how fast, how hot and how hungry a bundle is on this board.

    Times and memory at each number of threads; temperature, clock, throttling and power before,
    meanwhile and after, as far as the board tells them. Other work on the board spoils the figures.
    """
    manifest = open_program(bundle, None).manifest
    make_folder(out.parent)
    cores = len(usable_cpus())
    numbers = tuple(sorted(set(threads))) or tuple(range(1, cores + 1))
    plan = Plan(numbers, runs, 60 * soak, rest, interval, meter)
    with _Bars() as bars:
        found = measure_latency(bundle, plan, bars)
    result = take(describe_bundle(bundle, manifest), found)
    write_result(out, result)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
        return
    board = result.board
    click.echo(
        f"{board.model}; {board.cpu}, {board.cores} cores, {board.memory_mb:.0f} MB; {board.os}\n"
        f"{bundle.name}: {result.bundle.backbone}, {result.bundle.precision}; images a call: "
        f"{found.micro_batch}; milliseconds of {runs} warm calls\n"
    )
    click.echo(_ROW.format("threads", "method", "median", "p5", "p95", "images/s", "peak MB"))
    for at in found.at:
        _print_times(at)
    for phase in phase_figures(found):
        click.echo(_describe(phase))
    if found.soak is not None:
        click.echo(_verdict(found.soak))
    if found.clock_jump:
        click.echo(f"note: the date was set by {found.clock_jump:+.0f} s meanwhile", err=True)
    if found.power_source and not found.power:
        click.echo(f"note: power is {found.power_source}", err=True)
    click.echo(f"wrote {out}; next: cbpnet-mobile report {out.parent}")


class _Bars:
    """A bar for each part of the measurement, one after another; a context manager."""

    def __enter__(self) -> Self:
        self._bar: tqdm[Any] | None = None
        return self

    def __call__(self, part: str, steps: int) -> Progress:
        self.__exit__()
        bar: tqdm[Any] = tqdm(total=steps, desc=part, mininterval=1.0, leave=False)
        self._bar = bar
        return bar.update

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _print_times(at: AtThreads) -> None:
    memory = f"{at.memory.bare_mb + at.memory.peak_mb:.0f}"
    click.echo(_ROW.format(at.threads, "load", f"{at.load_ms:.2f}", "", "", "", memory))
    for name in _TOLD:
        timing = at.methods[name]
        speed = timing.images_per_second
        click.echo(
            _ROW.format(
                "",
                name,
                f"{timing.median_ms:.2f}",
                f"{timing.p5_ms:.2f}",
                f"{timing.p95_ms:.2f}",
                "" if speed is None else f"{speed:.1f}",
                "",
            )
        )


def _describe(phase: PhaseFigures) -> str:
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


def _verdict(soak: Soak) -> str:
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
