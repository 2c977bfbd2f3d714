"""What a machine says of itself, from files of /proc and /sys."""

import os
from pathlib import Path

import numpy as np
import pytest

from cbpnet.host.processor import cpu_name
from mobile.measure.board import describe_board


def test_a_raspberry_pi(pi_root: Path) -> None:
    board = describe_board(pi_root)
    assert board.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert board.raspberry_pi
    assert board.cpu == "BCM2712"
    assert board.os == "Debian GNU/Linux 12 (bookworm)"
    assert board.memory_mb == pytest.approx(4096.0)
    assert board.swap_mb == pytest.approx(512.0)
    assert board.governor == "ondemand"
    assert board.cores == len(os.sched_getaffinity(0))
    assert board.kernel == os.uname().release
    assert board.versions["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("model", "cpuinfo", "kind"),
    [
        (None, "flags\t\t: fpu hypervisor sse\n", "virtual machine"),
        (None, "flags\t\t: fpu sse\n", "machine"),
        ("Orange Pi 5\0", "", "Orange Pi 5"),
    ],
)
def test_any_other_machine_says_that_it_is_none(pi_root: Path, model, cpuinfo, kind) -> None:
    (pi_root / "proc/device-tree/model").unlink()
    if model:
        (pi_root / "proc/device-tree/model").write_text(model)
    (pi_root / "proc/cpuinfo").write_text(cpuinfo)
    board = describe_board(pi_root)
    assert not board.raspberry_pi
    machine = os.uname().machine.replace("_", "-")
    expected = kind if model else f"{machine} {kind}"
    assert board.model == f"not a Raspberry Pi: {expected}"


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    board = describe_board(tmp_path)
    assert not board.raspberry_pi
    assert board.cpu == cpu_name()
    assert (board.memory_mb, board.swap_mb, board.governor) == (0, 0, None)
    assert board.os == os.uname().sysname
