import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_process_whose_parent_has_ended_already_ends() -> None:
    code = "import os; from cbpnet.host.processes import end_with; end_with({}); print('lives')"
    for parent, status, said in (("os.getppid()", 0, "lives\n"), ("os.getpid()", 137, "")):
        command = [sys.executable, "-c", code.format(parent)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (status, said)
