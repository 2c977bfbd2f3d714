"""Pictures from a camera: Raspberry Pi's own, any that Linux knows, or a folder in its place."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbpnet.data.decoding import decode_image
from cbpnet.host.errors import InputError

__all__ = ["Capture", "open_camera"]

Picture = npt.NDArray[np.uint8]
Capture = Callable[[], Picture | None]

_SIZE = (640, 480)
_SOURCES = "right would be picamera2, v4l2:0 (or another number), or a folder of pictures"


@contextmanager
def open_camera(source: str) -> Iterator[Capture]:
    """Open a camera; it gives a function that returns what it sees now, uint8 RGB [H, W, 3].

    Args:
        source: ``picamera2``, the camera of a Raspberry Pi; ``v4l2:N``, the camera /dev/videoN,
            through OpenCV; or a folder, whose pictures come one after another by name, and None
            after the last.

    Raises:
        InputError: the source is none of these, there is no such camera, it gives no picture, or
            the package that reads it is missing.
    """
    kind, _, number = source.partition(":")
    if source == "picamera2":
        with _raspberry_pi_camera() as capture:
            yield capture
    elif kind == "v4l2" and number.isdigit():
        with _linux_camera(int(number)) as capture:
            yield capture
    elif source and Path(source).is_dir():
        yield _folder(Path(source))
    else:
        raise InputError(f"camera {source!r} is unknown; {_SOURCES}")


@contextmanager
def _raspberry_pi_camera() -> Iterator[Capture]:
    module = _package(
        "picamera2",
        "sudo apt install python3-picamera2, and an environment that sees the system's packages "
        "(python3 -m venv --system-site-packages)",
    )
    try:
        camera = module.Picamera2()
    except (IndexError, RuntimeError) as error:
        raise InputError(
            f"picamera2 finds no camera it can use ({error}); `rpicam-hello --list-cameras` should "
            "name one, and no other program may be using it"
        ) from error
    with camera:
        # What picamera2 calls BGR888 comes as RGB in an array, and the other way round.
        camera.configure(
            camera.create_preview_configuration(main={"size": _SIZE, "format": "BGR888"})
        )
        camera.start()
        yield lambda: np.ascontiguousarray(camera.capture_array("main"))


@contextmanager
def _linux_camera(number: int) -> Iterator[Capture]:
    cv2 = _package("cv2", "pip install opencv-python-headless")
    camera = cv2.VideoCapture(number, cv2.CAP_V4L2)
    try:
        if not camera.isOpened():
            raise InputError(
                f"there is no camera /dev/video{number} that can be opened; `v4l2-ctl "
                "--list-devices` names those that there are"
            )
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the picture of now, not one of a second ago

        def capture() -> Picture:
            read, picture = camera.read()
            if not read:
                raise InputError(f"the camera /dev/video{number} gives no picture; plug it in anew")
            return np.ascontiguousarray(picture[:, :, ::-1])  # OpenCV's are BGR

        yield capture
    finally:
        camera.release()


def _folder(folder: Path) -> Capture:
    paths = iter(sorted(path for path in folder.iterdir() if path.is_file()))

    def capture() -> Picture | None:
        path = next(paths, None)
        return None if path is None else np.array(decode_image(path, least=min(_SIZE)))

    return capture


def _package(name: str, remedy: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"this camera needs the package {name}, which cannot be imported here ({error}): "
            f"{remedy}; or name a folder of pictures"
        ) from error
