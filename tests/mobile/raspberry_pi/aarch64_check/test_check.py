"""The check of a board: killed and gone on with, and what is said of sessions that fail."""

import subprocess

import pytest

from mobile.raspberry_pi.aarch64_check import check, session
from mobile.raspberry_pi.aarch64_check.check import (
    SessionError,
    ThisMachine,
    check_board,
    run_session,
)
from mobile.raspberry_pi.aarch64_check.comparison import LIMITS


class Board:
    """A board whose sessions end with these exit statuses, or never, and do nothing."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.calls = []

    def run_module(self, module, arguments, timeout):
        self.calls.append((module, [str(argument) for argument in arguments], timeout))
        status = self.statuses.pop(0)
        if status is None:
            raise subprocess.TimeoutExpired("qemu", timeout)
        return subprocess.CompletedProcess("qemu", status, "said\n", "complained\n")


def test_a_session_that_is_killed_and_gone_on_with_ends_as_if_nothing_had_been(
    material, reference, tmp_path
):
    distances = check_board(ThisMachine(), material, reference, tmp_path)
    assert list(distances) == ["int8", "fp32"]
    for precision, distance in distances.items():
        assert distance.faults(LIMITS["fp32"]) == [], precision


def test_what_a_board_is_asked_to_run(tmp_path):
    board = Board(0)
    run_session(board, tmp_path / "m", tmp_path / "out", 600, ["--flip-sign=x"])
    ((module, arguments, timeout),) = board.calls
    assert module == session.__name__
    assert arguments == [
        str(tmp_path / "m" / "pictures"),
        str(tmp_path / "out"),
        str(tmp_path / "m" / "int8.pte"),
        str(tmp_path / "m" / "fp32.pte"),
        "--flip-sign=x",
    ]
    assert timeout == 600


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        # It should have been killed, and was not.
        ([0], r"ended with status 0, -9 would be right; it printed:\nsaid\ncomplained"),
        ([None], r"had not ended after 600 s"),
    ],
)
def test_a_session_that_does_not_end_as_it_should(tmp_path, statuses, message):
    with pytest.raises(SessionError, match=message):
        check_board(Board(*statuses), tmp_path, tmp_path, tmp_path, 600)


def test_a_killed_session_that_left_another_state(material, reference, tmp_path):
    with pytest.raises(SessionError, match="left a state of 2 lessons; 1 would be right"):
        check_board(Board(-9), material, reference, reference)


def test_a_session_that_fails_when_it_is_gone_on_with(material, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_check_first_lesson", lambda state: None)
    with pytest.raises(SessionError, match="ended with status 3, 0 would be right"):
        check_board(Board(-9, 3), material, reference, reference)
