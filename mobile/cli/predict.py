"""``cbpnet-mobile predict``: what some images are taken for."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cbpnet.host.progress import progress_bar
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.camera_options import CameraOptions, best_classes, recognise
from mobile.cli.option_groups import takes

if TYPE_CHECKING:
    from mobile.device.runtime import Prediction

__all__ = ["predict"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile predict pets.pte --state pets.safetensors cat.jpg dog.jpg
  cbpnet-mobile predict pets.pte --state pets.safetensors --camera picamera2
"""
)
@takes(bundle=BundleOptions, camera=CameraOptions)
@click.argument("images", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="What has been learnt; default: the state in the bundle.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    bundle: BundleOptions,
    camera: CameraOptions,
    images: tuple[Path, ...],
    state: Path | None,
    top: int,
    as_json: bool,
) -> None:
    """Classify images with a bundle and what it has learnt.

    Prints the best classes with their probabilities (not calibrated); where the bundle has tasks,
    also the one whose prompt was used, counted from 1. With --camera, what it sees, until it is
    stopped.
    """
    if bool(images) == (camera.camera is not None):
        raise click.UsageError("name images, or --camera")
    learner = bundle.learner(state)
    with camera.open() as capture:
        if capture is not None:
            recognise(learner, capture, camera.frames, top)
            return
    with progress_bar("classifying", len(images)) as bar:
        predictions = learner.predict(images, bar.update)
    if as_json:
        rows = zip(images, predictions, strict=True)
        click.echo(json.dumps([_row(image, found, top) for image, found in rows], indent=2))
        return
    _print(images, predictions, top)
    command = ["cbpnet-mobile", "learn", str(bundle.path), "--images", "FOLDER"]
    command += ["--state", str(state)] if state else []
    click.echo(f"teach it more: {shlex.join(command)}", err=True)


def _row(image: Path, found: "Prediction", top: int) -> dict[str, Any]:
    best = [
        {"label": label, "probability": probability} for label, probability in found.ranking[:top]
    ]
    return {"image": str(image), "task": found.task, "classes": best}


def _print(images: Sequence[Path], predictions: Sequence["Prediction"], top: int) -> None:
    for image, found in zip(images, predictions, strict=True):
        task = "" if found.task is None else f" (prompt of task {found.task})"
        click.echo(f"{image}: {best_classes(found, top)}{task}")
