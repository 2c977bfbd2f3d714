"""``cbpnet-mobile bench``: how fast a bundle is on this machine, and how much memory it takes."""

import importlib.metadata
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from cbpnet.host.processor import cpu_name
from mobile.cli.bundle_options import bundle_argument, open_program, threads_option
from mobile.device.bundle import Manifest
from mobile.device.program import get_threads
from mobile.measure.speed import WARM_UP, Memory, Times, measure_memory, measure_times

__all__ = ["bench"]

_ROW = "{:<12}{:>10}{:>10}{:>10}{:>10}{:>11}{:>10}"


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile bench pets.pte --threads 2 --json
"""
)
@bundle_argument
@threads_option
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Warm calls of each method.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(bundle: Path, threads: int | None, runs: int, as_json: bool) -> None:
    """Measure how fast a bundle learns and classifies here, and in how much memory.

    Memory is measured in a process of its own. Other work on the machine makes all of it slower.
    """
    manifest = open_program(bundle, threads).manifest
    with tqdm(total=WARM_UP + runs, unit="round", mininterval=1.0) as bar:
        times = measure_times(bundle, runs, bar.update)
    memory = measure_memory(bundle)
    conditions = _conditions(bundle, manifest, runs)
    if as_json:
        click.echo(json.dumps(conditions | _figures(times, memory), indent=2))
        return
    versions = ", ".join(f"{name} {number}" for name, number in conditions["versions"].items())
    click.echo(
        f"{bundle}: {manifest.backbone.name} for {manifest.target}, {manifest.precision}, "
        f"{conditions['file_bytes'] / 1e6:.2f} MB\n"
        f"images of {manifest.image_size} pixels, {manifest.micro_batch} a call\n"
        f"{conditions['cpu']}, ExecuTorch's threads: {conditions['threads']}; {versions}\n"
        f"milliseconds of {runs} warm calls, and of the first; peak memory up to there\n"
    )
    click.echo(_ROW.format("method", "median", "p5", "p95", "first", "images/s", "MB"))
    for name, timing in times.methods.items():
        speed = timing.images_per_second
        click.echo(
            _ROW.format(
                name,
                f"{timing.median_ms:.2f}",
                f"{timing.p5_ms:.2f}",
                f"{timing.p95_ms:.2f}",
                f"{timing.first_ms:.2f}",
                "" if speed is None else f"{speed:.1f}",
                f"{memory.peak_after_mb[name]:.1f}",
            )
        )
    click.echo(
        f"\nloading takes {times.load_ms:.1f} ms and {memory.peak_after_mb['load']:.1f} MB; "
        f"the peak of all is {memory.peak_mb:.1f} MB above the bare runtime's {memory.bare_mb:.1f}"
    )


def _conditions(bundle: Path, manifest: Manifest, runs: int) -> dict[str, Any]:
    """Return what the figures depend on."""
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
        "threads": get_threads(),
        "torch_threads": torch.get_num_threads(),
        "versions": {name: importlib.metadata.version(name) for name in ("executorch", "torch")},
        "runs": runs,
        "warm_up": WARM_UP,
    }


def _figures(times: Times, memory: Memory) -> dict[str, Any]:
    """Return what was measured, with the figures that a script looks for at its top level."""
    methods = times.methods
    return {
        "load_ms": times.load_ms,
        "query_ms": methods["query"].median_ms,
        "predict_ms": methods["predict"].median_ms,
        "gradients_ms_per_image": methods["gradients"].median_ms / methods["gradients"].images,
        "observe_ms": methods["observe"].median_ms,
        "update_ms": methods["update"].median_ms,
        "peak_rss_mb": memory.peak_mb,
        "bare_rss_mb": memory.bare_mb,
        "peak_rss_mb_after": memory.peak_after_mb,
        "methods": {
            name: asdict(timing) | {"images_per_second": timing.images_per_second}
            for name, timing in methods.items()
        },
    }
