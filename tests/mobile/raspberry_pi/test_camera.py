"""Cameras, by stand-ins for the packages that read them."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from cbpnet.host.errors import InputError
from mobile.raspberry_pi.camera import open_camera

ORANGE = (250, 120, 10)


def test_a_folder_stands_in(tmp_path: Path) -> None:
    for number, value in enumerate((10, 20, 30)):
        Image.new("RGB", (4, 3), (value, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "folder").mkdir()
    with open_camera(str(tmp_path)) as capture:
        pictures = [capture() for _ in range(3)]
        assert capture() is None
    assert [picture[0, 0].tolist() for picture in pictures if picture is not None] == [
        [10, 0, 0],
        [20, 0, 0],
        [30, 0, 0],
    ]
    assert all(picture is not None and picture.shape == (3, 4, 3) for picture in pictures)


class Picamera2:
    """Orange, in the order of channels that picamera2's format gives."""

    events: list[str] = []  # noqa: RUF012

    def create_preview_configuration(self, main: dict) -> dict:
        return main

    def configure(self, main: dict) -> None:
        self.main = main

    def start(self) -> None:
        self.events.append("start")

    def capture_array(self, stream: str) -> np.ndarray:
        assert stream == "main"
        colour = {"BGR888": ORANGE, "RGB888": ORANGE[::-1]}[self.main["format"]]
        width, height = self.main["size"]
        return np.full((height, width, 3), colour, np.uint8)

    def __enter__(self) -> "Picamera2":
        return self

    def __exit__(self, *_: object) -> None:
        self.events.append("close")


def test_the_raspberry_pi_camera_gives_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(Picamera2, "events", [])
    with open_camera("picamera2") as capture:
        picture = capture()
    assert picture is not None
    assert picture.shape == (480, 640, 3)
    assert tuple(picture[0, 0]) == ORANGE
    assert Picamera2.events == ["start", "close"]


def test_a_raspberry_pi_without_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise IndexError("list index out of range")

    module = ModuleType("picamera2")
    module.Picamera2 = none  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    message = "picamera2 finds no camera it can use .*rpicam-hello --list-cameras"
    with pytest.raises(InputError, match=message), open_camera("picamera2"):
        pass


def opencv(monkeypatch: pytest.MonkeyPatch, opened: bool, reads: bool) -> list[object]:
    """Install an OpenCV whose cameras see orange, in OpenCV's order: BGR."""
    calls: list[object] = []

    class VideoCapture:
        def __init__(self, number: int, interface: int) -> None:
            calls.append((number, interface))

        def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
            return opened

        def set(self, name: int, value: int) -> None:
            calls.append((name, value))

        def read(self) -> tuple[bool, np.ndarray | None]:
            return (True, np.full((2, 3, 3), ORANGE[::-1], np.uint8)) if reads else (False, None)

        def release(self) -> None:
            calls.append("release")

    module = ModuleType("cv2")
    for name, value in {
        "VideoCapture": VideoCapture,
        "CAP_V4L2": 200,
        "CAP_PROP_BUFFERSIZE": 38,
    }.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "cv2", module)
    return calls


def test_a_linux_camera_gives_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = opencv(monkeypatch, opened=True, reads=True)
    with open_camera("v4l2:3") as capture:
        picture = capture()
    assert picture is not None
    assert picture.shape == (2, 3, 3)
    assert tuple(picture[1, 2]) == ORANGE
    assert picture.flags["C_CONTIGUOUS"]
    assert calls == [(3, 200), (38, 1), "release"]


def test_a_linux_camera_that_is_not_there_or_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = opencv(monkeypatch, opened=False, reads=False)
    with pytest.raises(InputError, match=r"no camera /dev/video0"), open_camera("v4l2:0"):
        pass
    assert calls[-1] == "release"
    opencv(monkeypatch, opened=True, reads=False)
    with open_camera("v4l2:0") as capture, pytest.raises(InputError, match="gives no picture"):
        capture()


@pytest.mark.parametrize(
    ("source", "package", "remedy"),
    [
        ("picamera2", "picamera2", "apt install python3-picamera2"),
        ("v4l2:0", "cv2", "pip install opencv-python-headless"),
    ],
)
def test_a_missing_package_is_asked_for(monkeypatch, source, package, remedy) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = f"needs the package {package}, .*{remedy}.*or name a folder of pictures"
    with pytest.raises(InputError, match=message), open_camera(source):
        pass


@pytest.mark.parametrize("source", ["webcam", "v4l2:", "v4l2:x", "nowhere/at/all", ""])
def test_an_unknown_source(source: str) -> None:
    message = "is unknown; right would be picamera2, v4l2:0"
    with pytest.raises(InputError, match=message), open_camera(source):
        pass
