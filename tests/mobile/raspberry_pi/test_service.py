"""What the service says to systemd, and what systemd makes of its unit."""

import importlib.resources
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mobile.cli import main
from mobile.raspberry_pi.service import notify

UNIT = importlib.resources.files("mobile.raspberry_pi") / "cbpnet-watch.service"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A socket as systemd listens on, by a path or by an abstract name."""
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        if sys.platform != "linux":
            pytest.skip("only Linux has abstract sockets")
        name = f"@{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def heard(manager: socket.socket) -> list[str]:
    messages: list[str] = []
    while True:
        try:
            messages += manager.recv(4096).decode().split("\n")
        except BlockingIOError:
            return messages


def test_what_is_said_is_heard(manager: socket.socket) -> None:
    notify("READY=1", "STATUS=a\nWATCHDOG=trigger")
    assert heard(manager) == ["READY=1", r"STATUS=a\nWATCHDOG=trigger"]


def test_nobody_need_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_watch_tells_that_it_lives_with_every_picture(
    manager: socket.socket, bundle: Path, write_classes, tmp_path: Path
) -> None:
    write_classes(tmp_path / "inbox" / "waiting" / "a", "red", count=3)
    command = ["watch", str(bundle), "--inbox", str(tmp_path / "inbox"), "--epochs", "1", "--once"]
    result = CliRunner().invoke(main, [*command, "--state", str(tmp_path / "state")])
    assert result.exit_code == 0, result.output
    said = heard(manager)
    assert said[:3] == ["READY=1", "WATCHDOG=1", "STATUS=0 classes are known"]
    assert said[-1] == "STATUS=1 class is known"
    assert (
        said.count("WATCHDOG=1") >= 2 + 3 + 3 + 1
    )  # two looks, each picture read and decoded, what is learnt


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_the_unit_is_as_closed_as_the_guide_says(tmp_path: Path) -> None:
    unit = tmp_path / "cbpnet-watch.service"
    unit.write_text(UNIT.read_text(encoding="utf-8"))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
