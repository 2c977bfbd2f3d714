"""``cbpnet-mobile bench``: how fast a bundle is on this machine, and how much memory it takes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cbpnet.host.processor import cpu_name
from cbpnet.host.progress import progress_bar
from cbpnet.host.tables import plain_table
from cbpnet.host.text import counted
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.option_groups import takes
from mobile.cli.options import print_json

if TYPE_CHECKING:
    from mobile.device.manifest import Manifest
    from mobile.measure.speed import Memory, Times

__all__ = ["bench"]

_HEADER = ("method", "median", "p5", "p95", "first", "images/s", "MB")


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile bench pets.pte --threads 2 --json
"""
)
@takes(bundle=BundleOptions)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Warm calls of each method.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(bundle: BundleOptions, runs: int, as_json: bool) -> None:
    """Measure how fast a bundle learns and classifies here, and in how much memory.

    Memory is measured in a process of its own. Other work on the machine makes all of it slower.
    """
    from mobile.measure.speed import WARM_UP, measure_memory, measure_times

    manifest = bundle.program().manifest
    with progress_bar("timing", WARM_UP + runs, "round") as bar:
        times = measure_times(bundle.path, runs, bar.update)
    memory = measure_memory(bundle.path)
    conditions = _conditions(bundle.path, manifest, runs) | {"warm_up": WARM_UP}
    if as_json:
        print_json(conditions | _figures(times, memory))
    else:
        _print(conditions, times, memory)


def _print(conditions: dict[str, Any], times: "Times", memory: "Memory") -> None:
    versions = ", ".join(f"{name} {number}" for name, number in conditions["versions"].items())
    click.echo(
        f"{conditions['bundle']}: {conditions['backbone']} for {conditions['target']}, "
        f"{conditions['precision']}, {conditions['file_bytes'] / 1e6:.2f} MB\n"
        f"images of {conditions['image_size']} pixels, {conditions['micro_batch']} a call\n"
        f"{conditions['cpu']}, ExecuTorch's threads: {conditions['threads']}; {versions}\n"
        f"milliseconds of {counted(conditions['runs'], 'warm call')}, and of the first; peak "
        "memory up to there\n"
    )
    rows = []
    for name, timing in times.methods.items():
        measured = (timing.median_ms, timing.p5_ms, timing.p95_ms, timing.first_ms)
        speed = timing.images_per_second
        rows.append(
            [
                name,
                *(f"{each:.2f}" for each in measured),
                f"{speed:.1f}" if speed else "",
                f"{memory.peak_after_mb[name]:.1f}",
            ]
        )
    click.echo(plain_table(_HEADER, rows))
    click.echo(
        f"\nloading takes {times.load_ms:.1f} ms and {memory.peak_after_mb['load']:.1f} MB; "
        f"the peak of all is {memory.peak_mb:.1f} MB above the bare runtime's {memory.bare_mb:.1f}"
    )


def _conditions(bundle: Path, manifest: "Manifest", runs: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    from mobile.device.engines.choice import choose_engine

    engine = choose_engine()
    return {
        "bundle": str(bundle),
        "file_bytes": bundle.stat().st_size,
        "backbone": manifest.backbone.name,
        "target": manifest.target,
        "precision": manifest.precision,
        "image_size": manifest.image_size,
        "micro_batch": manifest.micro_batch,
        "classes": manifest.classes,
        "tasks": manifest.tasks,
        "cpu": cpu_name(),
        "threads": engine.get_threads(),
        "engine": engine.name,
        "versions": engine.versions,
        "runs": runs,
    }


def _figures(times: "Times", memory: "Memory") -> dict[str, Any]:
    """Return what was measured, with the figures that a script looks for at its top level."""
    methods = times.methods
    told = ("query", "features", "predict", "observe", "update")
    training = methods.get("gradients")
    learnt = training.median_ms / training.images if training else None
    return {
        "load_ms": times.load_ms,
        **{f"{name}_ms": methods[name].median_ms for name in told if name in methods},
        "gradients_ms_per_image": learnt,
        "peak_rss_mb": memory.peak_mb,
        "bare_rss_mb": memory.bare_mb,
        "peak_rss_mb_after": memory.peak_after_mb,
        "methods": {
            name: asdict(timing) | {"images_per_second": timing.images_per_second}
            for name, timing in methods.items()
        },
    }
