"""What the commands with a camera share."""

import time

import click

from mobile.device.runtime import OnDeviceLearner, Prediction
from mobile.raspberry_pi.camera import Capture

__all__ = ["best_classes", "camera_option", "frames_option", "recognise"]

camera_option = click.option(
    "--camera",
    help="Camera in the place of files: picamera2, v4l2:0 (/dev/video0, through OpenCV), or a "
    "folder of pictures that stands in for one.",
)
frames_option = click.option(
    "--frames",
    type=click.IntRange(min=1),
    help="Pictures to recognise from the camera; default: until it is stopped.",
)


def best_classes(found: Prediction, top: int) -> str:
    """Return the best classes of a prediction with their probabilities, in words."""
    return ", ".join(f"{label} {100 * share:.1f} %" for label, share in found.ranking[:top])


def recognise(learner: OnDeviceLearner, capture: Capture, frames: int | None, top: int = 3) -> None:
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
