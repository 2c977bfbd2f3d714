"""ExecuTorch beside torch, whose threads it must not keep waiting."""

from pathlib import Path

import numpy as np
import pytest

from mobile.device.engines.choice import ENGINE_VARIABLE
from mobile.device.program import Program

torch = pytest.importorskip("torch")


def test_torch_has_one_thread_for_the_call_and_its_own_afterwards(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENGINE_VARIABLE, "executorch")
    program = Program(bundle)
    set_threads, asked = torch.set_num_threads, []

    def remember(count: int) -> None:
        asked.append(count)
        set_threads(count)

    before = torch.get_num_threads()
    set_threads(3)
    try:
        monkeypatch.setattr(torch, "set_num_threads", remember)
        program.call("query", {"images": np.zeros((2, 3, 8, 8), np.float32)})
        assert (asked, torch.get_num_threads()) == ([1, 3], 3)
    finally:
        set_threads(before)
