"""What the commands with a camera share."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mobile.cli.option_groups import option

if TYPE_CHECKING:
    from mobile.device.runtime import OnDeviceLearner, Prediction
    from mobile.raspberry_pi.camera import Capture

__all__ = ["CameraOptions", "best_classes", "recognise"]


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

        return nullcontext() if self.camera is None else open_camera(self.camera)


def best_classes(found: "Prediction", top: int) -> str:
    """Return the best classes of a prediction with their probabilities, in words."""
    return ", ".join(f"{label} {100 * share:.1f} %" for label, share in found.ranking[:top])


def recognise(
    learner: "OnDeviceLearner", capture: "Capture", frames: int | None, top: int = 3
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
        best = best_classes(found, top)
        click.echo(f"{start - begin:.1f} s: {best} ({1e3 * (time.monotonic() - start):.0f} ms)")
