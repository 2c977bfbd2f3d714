"""What is asked of a bundle's program."""

import pytest

from mobile.device.program import Program


@pytest.fixture
def calls(monkeypatch):
    """The methods that programs are asked for, and what they answered."""
    found = []
    real = Program.call

    def call(program, method, tensors):
        found.append((method, real(program, method, tensors)))
        return found[-1][1]

    monkeypatch.setattr(Program, "call", call)
    return found
