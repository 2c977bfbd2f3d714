"""``cbpnet-mobile predict``: what some images are taken for."""

import json
import shlex
from pathlib import Path

import click
from tqdm import tqdm

from mobile.cli.bundle_options import bundle_argument, open_learner, threads_option
from mobile.cli.live import best_classes, camera_option, frames_option, recognise
from mobile.raspberry_pi.camera import open_camera

__all__ = ["predict"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile predict pets.pte --state pets.safetensors cat.jpg dog.jpg
  cbpnet-mobile predict pets.pte --state pets.safetensors --camera picamera2
"""
)
@bundle_argument
@click.argument("images", type=click.Path(path_type=Path), nargs=-1)
@camera_option
@frames_option
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="What has been learnt; default: the state in the bundle.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes.")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    bundle: Path,
    images: tuple[Path, ...],
    camera: str | None,
    frames: int | None,
    state: Path | None,
    top: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Classify images with a bundle and what it has learnt.

    Prints the best classes with their probabilities (not calibrated), and the task whose prompt
    was used, counted from 1. With --camera, what it sees, until it is stopped.
    """
    if bool(images) == (camera is not None):
        raise click.UsageError("name images, or --camera")
    learner = open_learner(bundle, state, threads)
    if camera is not None:
        with open_camera(camera) as capture:
            recognise(learner, capture, frames, top)
        return
    with tqdm(total=len(images), unit="img", mininterval=1.0, disable=len(images) == 1) as bar:
        predictions = learner.predict(images, bar.update)
    rows = [
        {
            "image": str(image),
            "task": found.task,
            "classes": [
                {"label": label, "probability": probability}
                for label, probability in found.ranking[:top]
            ],
        }
        for image, found in zip(images, predictions, strict=True)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for image, found in zip(images, predictions, strict=True):
        task = "" if found.task is None else f" (prompt of task {found.task})"
        click.echo(f"{image}: {best_classes(found, top)}{task}")
    command = ["cbpnet-mobile", "learn", str(bundle), "--images", "FOLDER"]
    command += ["--state", str(state)] if state else []
    click.echo(f"teach it more: {shlex.join(command)}", err=True)
