"""A board's figures at one moment, and beside a program that keeps Python's lock."""

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from mobile.measure.sampling import Monitor, Sample, flag_names, take_sample

PMIC = """\
 3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=2.00000000A
  3V7_WL_SW_V volt(8)=3.70000000V
   VDD_CORE_V volt(15)=0.90000000V
      EXT5V_V volt(24)=5.11000000V
       BATT_V volt(25)=0.00000000V
"""


def test_what_the_firmware_says(pi_root: Path, vcgencmd) -> None:
    vcgencmd(
        measure_clock="frequency(0)=2400033792",
        get_throttled="throttled=0x50005",
        pmic_read_adc=PMIC,
    )
    before = time.monotonic()
    sample = take_sample(pi_root)
    assert before <= sample.seconds <= time.monotonic()
    assert sample.celsius == pytest.approx(48.312)
    assert sample.megahertz == pytest.approx(2400.033792)
    assert sample.flags == 0x50005
    # Rails with current and voltage alone: 0.1 A at 3.7 V and 2 A at 0.9 V.
    assert sample.watts == pytest.approx(0.37 + 1.8)
    assert sample.available_mb == pytest.approx(3072.0)
    assert sample.swap_used_mb == pytest.approx(102.4)


def test_without_vcgencmd_the_kernel_is_asked(pi_root: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    sample = take_sample(pi_root)
    assert (sample.celsius, sample.megahertz) == (pytest.approx(48.312), 1500.0)
    assert (sample.flags, sample.watts) == (None, None)


def test_a_vcgencmd_that_refuses_is_none(pi_root: Path, vcgencmd) -> None:
    vcgencmd(get_throttled="VCHI initialization failed")
    assert take_sample(pi_root).flags is None


def test_a_machine_that_tells_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    sample = take_sample(tmp_path)
    assert (sample.celsius, sample.megahertz, sample.flags, sample.watts) == (None,) * 4
    assert (sample.available_mb, sample.swap_used_mb) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0x0, ()),
        (0x1, ("under-voltage",)),
        (0x6, ("clock capped", "throttled")),
        (0x8, ("soft temperature limit",)),
        (0x50000, ()),
    ],
)
def test_flags_in_words(flags, names) -> None:
    assert flag_names(flags) == names


def test_the_monitor_samples_while_python_is_locked() -> None:
    inside: list[Sample] = []
    with Monitor(0.05) as monitor:
        for doublings in range(12):  # the busier the machine, the later its samples come
            start = time.monotonic()
            sum(range(10_000_000 << doublings))  # one call that never lets another thread in
            end = time.monotonic()
            time.sleep(0.1)  # lets the thread that collects them in
            inside = monitor.between(start, end)
            if len(inside) >= 2:
                break
    assert len(inside) >= 2
    gaps = [after.seconds - before.seconds for before, after in pairwise(inside)]
    assert min(gaps) > 0.04


def test_the_sampler_ends_with_its_reader_and_imports_no_torch() -> None:
    code = (
        "import sys, mobile.measure.sampling as s; assert 'torch' not in sys.modules; "
        "s._main(['0.01'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b'"seconds"' in process.stdout.readline()
    process.stdout.close()
    assert process.wait() is not None
