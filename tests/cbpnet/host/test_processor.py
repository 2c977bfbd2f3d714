"""The processor's name, as Linux tells it, or at least something."""

import os
import platform
from pathlib import Path

import pytest

from cbpnet.host.processor import cpu_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9\nflags\t: sse\n", "AMD EPYC 9"),
        ("processor\t: 0\nCPU part\t: 0xd0b\n\nModel\t\t: Raspberry Pi 5 B\n", "Raspberry Pi 5 B"),
    ],
)
def test_the_cpu_is_named(monkeypatch: pytest.MonkeyPatch, text: str, name: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert cpu_name() == name


def test_a_cpu_without_a_name_is_still_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert cpu_name() in (os.uname().machine, platform.processor())
