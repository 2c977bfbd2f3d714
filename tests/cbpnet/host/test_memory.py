import subprocess
import sys

import pytest

from cbpnet.host.memory import peak_rss_mb


def test_peak_memory_is_this_process_own_in_megabytes():
    # This process is the larger one: its size must not be taken for the child's.
    program = "from cbpnet.host.memory import peak_rss_mb; b'1' * {}; print(peak_rss_mb())"
    peaks = []
    for size in ("int(1)", "int(200e6)"):
        command = [sys.executable, "-c", program.format(size)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True).stdout))
    assert peaks[1] - peaks[0] == pytest.approx(200, abs=10)
    assert peaks[0] < peak_rss_mb() < 1e5
