"""A board that is none: files of /proc and /sys, and a vcgencmd that answers."""

from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = "Raspberry Pi 5 Model B Rev 1.0"
MEMINFO = """\
MemTotal:        4000000 kB
MemFree:          100000 kB
MemAvailable:    3000000 kB
SwapTotal:        500000 kB
SwapFree:         400000 kB
"""


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

    return install
