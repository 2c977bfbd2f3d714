"""A board's temperature, clock, throttling flags, power and memory, at one moment and over time.

Run as a module it prints a sample every few seconds until it is ended. That is a process of its own
because a program that runs holds Python's lock: a thread beside it would sample its pauses only.
"""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cbpnet.host.dataclass_json import from_json
from cbpnet.host.system_files import memory_mb, read_system_file

__all__ = ["SINCE_START", "Monitor", "Sample", "flag_names", "take_sample"]

# The firmware's flags, by bit; each stands again so many bits higher if it has been up since the
# board started.
SINCE_START = 16
_FLAGS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}

_ROOT = Path("/")
_RAIL = re.compile(r"^\s*(\w+)_([AV])\s+\w+\(\d+\)=([\d.]+)[AV]", re.MULTILINE)
_PATIENCE = 5.0  # seconds that a board's own command may take


@dataclass(frozen=True)
class Sample:
    """A board at one moment; None for what it does not tell.

    ``seconds`` are of the machine's monotonic clock, which no change of date moves. ``flags`` is
    the firmware's word on throttling, see `flag_names`. ``watts`` is the sum over the rails that
    the power chip of a Raspberry Pi 5 measures, without what is drawn from 5 V directly.
    ``available_mb`` is the memory that programs can still have, in megabytes (10^6 bytes).
    """

    seconds: float
    celsius: float | None
    megahertz: float | None
    flags: int | None
    watts: float | None
    available_mb: float
    swap_used_mb: float


def take_sample(root: Path = _ROOT) -> Sample:
    """Return the board's figures now; ``root`` is where its /proc and /sys are."""
    memory = memory_mb(root / "proc/meminfo")
    return Sample(
        seconds=time.monotonic(),
        celsius=_temperature(root),
        megahertz=_clock(root),
        flags=_flags(),
        watts=_power(),
        available_mb=memory.get("MemAvailable", 0.0),
        swap_used_mb=memory.get("SwapTotal", 0.0) - memory.get("SwapFree", 0.0),
    )


def flag_names(flags: int) -> tuple[str, ...]:
    """Return what the firmware's flags say of this moment, in words."""
    return tuple(name for bit, name in _FLAGS.items() if flags >> bit & 1)


class Monitor:
    """Samples the board beside a measurement; a context manager.

    Attributes:
        samples: what has been sampled so far, the earliest first.
    """

    def __init__(self, interval: float) -> None:
        self.samples: list[Sample] = []
        self._interval = interval

    def __enter__(self) -> Self:
        command = [sys.executable, "-P", "-m", "mobile.measure.sampling", str(self._interval)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def between(self, start: float, end: float) -> list[Sample]:
        """Return the samples from one time to another of the monotonic clock."""
        return [sample for sample in self.samples if start <= sample.seconds <= end]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with suppress(json.JSONDecodeError):  # the last line may be cut short
                    self.samples.append(from_json(Sample, json.loads(line)))


def _temperature(root: Path) -> float | None:
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    zones.sort(key=lambda zone: "cpu" not in read_system_file(zone / "type"))
    for zone in zones:
        with suppress(ValueError):
            return int(read_system_file(zone / "temp")) / 1e3
    return None


def _clock(root: Path) -> float | None:
    """Return the clock in MHz: the firmware's measurement, else what the kernel has asked for."""
    measured = re.search(r"=(\d+)", _ask("measure_clock", "arm"))
    if measured:
        return int(measured[1]) / 1e6
    asked = read_system_file(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return int(asked) / 1e3 if asked.strip().isdigit() else None


def _flags() -> int | None:
    found = re.search(r"throttled=(0x[0-9a-fA-F]+)", _ask("get_throttled"))
    return int(found[1], 16) if found else None


def _power() -> float | None:
    """Return the sum over rails; each has a line for its current and one for its voltage."""
    rails: dict[str, dict[str, float]] = {}
    for name, unit, value in _RAIL.findall(_ask("pmic_read_adc")):
        rails.setdefault(name, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if len(rail) == 2]
    return sum(powers) if powers else None


def _ask(*question: str) -> str:
    """Return what the board's firmware answers; nothing where there is none to ask."""
    try:
        answer = subprocess.run(
            ["vcgencmd", *question], capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def _main(arguments: Sequence[str]) -> None:
    with suppress(BrokenPipeError, KeyboardInterrupt):  # who started this has ended
        while True:
            print(json.dumps(asdict(take_sample())), flush=True)
            time.sleep(float(arguments[0]))


if __name__ == "__main__":
    _main(sys.argv[1:])
