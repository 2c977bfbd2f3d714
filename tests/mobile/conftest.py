"""What the tests of bundles and commands share."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from .made_once import made_once  # noqa: F401  a fixture
from .toy_pictures import toy_pictures

if find_spec("torch"):
    from .bundles_of_a_pc import *  # noqa: F403
else:
    from .bundles_of_a_device import *  # noqa: F403

MODEL = "Raspberry Pi 5 Model B Rev 1.0"
MEMINFO = """\
MemTotal:        4000000 kB
MemFree:          100000 kB
MemAvailable:    3000000 kB
SwapTotal:        500000 kB
SwapFree:         400000 kB
"""


@pytest.fixture(autouse=True)
def _nobody_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a user of this machine trusts out of the tests, and what tests do out of that."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-state")))


@pytest.fixture(scope="session")
def program_in() -> Callable[[Path], bytes]:
    """Take the ExecuTorch program out of a bundle: what stands before manifest and trailer."""

    def take(bundle: Path) -> bytes:
        content = bundle.read_bytes()
        return content[: -48 - int.from_bytes(content[-36:-32], "little")]

    return take


@pytest.fixture(scope="session")
def pictures() -> Callable[..., list[npt.NDArray[np.uint8]]]:
    """Make noisy pictures of a colour."""
    return toy_pictures


@pytest.fixture
def write_classes() -> Callable[..., Path]:
    """Write class folders of noisy pictures of a colour, each called after its colour."""

    def write(folder: Path, *colours: str, count: int = 3, seed: int = 0) -> Path:
        for colour in colours:
            (folder / colour).mkdir(parents=True)
            for number, picture in enumerate(toy_pictures(colour, count, seed)):
                Image.fromarray(picture).save(folder / colour / f"{number}.png")
        return folder

    return write


@pytest.fixture
def pi_root(tmp_path: Path) -> Path:
    """The files in which a Raspberry Pi 5 describes itself."""
    files = {
        "proc/device-tree/model": MODEL + "\0",
        "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
        "proc/meminfo": MEMINFO,
        "proc/cpuinfo": "processor : 0\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/class/thermal/thermal_zone0/type": "wifi\n",
        "sys/class/thermal/thermal_zone0/temp": "31000\n",
        "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "48312\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    }
    root = tmp_path / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a vcgencmd on the path that gives these answers and refuses all other questions."""

    def install(**answers: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        cases = "".join(f"{name}) printf '%s\\n' '{text}' ;;\n" for name, text in answers.items())
        script = folder / "vcgencmd"
        script.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 255 ;;\nesac\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.setattr("mobile.measure.sampling._PATIENCE", None)  # however busy the machine

    return install
