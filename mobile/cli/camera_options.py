"""What the commands with a camera share."""

import os
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mobile.cli.option_groups import option
from mobile.cli.options import print_json
from mobile.cli.prediction_report import best_classes, prediction_json

if TYPE_CHECKING:
    from mobile.device.runtime import OnDeviceLearner
    from mobile.raspberry_pi.camera import Capture

__all__ = ["CameraOptions", "recognise"]


@dataclass(frozen=True)
class CameraOptions:
    """A camera in the place of files."""

    camera: str | None = option(
        "--camera",
        help="Camera in the place of files: picamera2, v4l2:0 (/dev/video0, through OpenCV), or a "
        "folder of pictures that stands in for one.",
    )
    frames: int | None = option(
        "--frames",
        type=click.IntRange(min=1),
        help="Pictures to recognise from the camera; default: until it is stopped.",
    )

    def open(self) -> "AbstractContextManager[Capture | None]":
        """Open the camera if one was named; a context manager."""
        from mobile.raspberry_pi.camera import open_camera

        if self.camera is None:
            return nullcontext()
        # ~ may begin a folder that stands in for a camera.
        return open_camera(os.path.expanduser(self.camera))  # noqa: PTH111


def recognise(
    learner: "OnDeviceLearner",
    capture: "Capture",
    frames: int | None,
    as_json: bool,
    top: int = 3,
) -> None:
    """Print what a camera's pictures are taken for, one a line, until it or they end."""
    begin = time.monotonic()
    seen = 0
    while frames is None or seen < frames:
        picture = capture()
        if picture is None:
            return
        start = time.monotonic()
        (found,) = learner.predict(picture)
        seen += 1
        since, took = start - begin, time.monotonic() - start
        if as_json:
            row = {"seconds": since, "took": took, **prediction_json(found, top)}
            print_json(row, indent=None)
        else:
            click.echo(f"{since:.1f} s: {best_classes(found, top)} ({1e3 * took:.0f} ms)")
