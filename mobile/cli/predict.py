"""``cbpnet-mobile predict``: what some images are taken for."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.data.folder import find_images
from cbpnet.host.errors import InputError
from cbpnet.host.text import counted, printable
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.camera_options import CameraOptions, recognise
from mobile.cli.option_groups import takes
from mobile.cli.options import print_json, print_note
from mobile.cli.parameters import FilePath
from mobile.cli.prediction_report import best_classes, prediction_json
from mobile.cli.state_options import FoundStateOptions

if TYPE_CHECKING:
    from mobile.device.prediction import Prediction

__all__ = ["predict"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile predict pets.pte cat.jpg dog.jpg
  cbpnet-mobile predict pets.pte --state pets.safetensors photos
  cbpnet-mobile predict pets.pte --state pets.safetensors --camera picamera2
"""
)
@takes(bundle=BundleOptions, known=FoundStateOptions, camera=CameraOptions)
@click.argument("images", type=FilePath(), nargs=-1)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes.")
@click.option(
    "--unknown-above",
    type=float,
    metavar="SCORE",
    help="Unknown score above which an image is none of the classes, inf for never; default: as "
    "the state's own images say.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def predict(
    bundle: BundleOptions,
    known: FoundStateOptions,
    camera: CameraOptions,
    images: tuple[Path, ...],
    top: int,
    unknown_above: float | None,
    as_json: bool,
) -> None:
    """Classify images with a bundle and what it has learnt.

    IMAGES are files, or folders that are searched for pictures. Prints the best classes with their
    probabilities, or that it is unknown: like nothing that was learnt. Where the bundle has tasks,
    it prints the one whose prompt was used, counted from 1, and probabilities are not calibrated.
    What cannot be read is named and skipped; the exit status is 1 if nothing was
    left. With --camera, what it sees, until it is stopped.
    """
    if bool(images) == (camera.camera is not None):
        raise click.UsageError("name images, or --camera")
    state = known.find(bundle.path)
    learner = bundle.learner(state)
    learner.unknown_above = unknown_above
    with camera.open() as capture:
        if capture is not None:
            recognise(learner, capture, camera.frames, as_json, top)
            return

    from mobile.device.answers import answer_files

    files, skipped = _files(images), 0
    for image, found in answer_files(learner, files):
        if isinstance(found, InputError):
            skipped += 1
            print_note(f"skipped {found}")
        elif as_json:
            print_json({"image": str(image), **prediction_json(found, top)}, indent=None)
        else:
            click.echo(_line(image, found, top))
    if skipped:
        print_note(f"skipped {skipped} of {counted(len(files), 'image')}")
    if skipped == len(files):
        sys.exit(1)
    if not as_json:
        command = ["cbpnet-mobile", "learn", str(bundle.path), "--images", "FOLDER"]
        command += ["--state", str(state)] if state else []
        click.echo(f"teach it more: {shlex.join(command)}", err=True)


def _files(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are, and those in folders that are images or are called so."""
    files = []
    for path in paths:
        found = list(find_images(path)) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: holds no picture; right would be some, or other folders")
        files += found
    return list(dict.fromkeys(files))


def _line(image: Path, found: "Prediction", top: int) -> str:
    task = "" if found.task is None else f" (prompt of task {found.task})"
    return f"{printable(str(image))}: {best_classes(found, top)}{task}"
