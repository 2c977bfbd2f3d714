"""What a board has to show, and what is said of one that does not."""

import json
import subprocess

import pytest

from mobile.raspberry_pi.aarch64_check import check, session
from mobile.raspberry_pi.aarch64_check.check import (
    BoardError,
    ThisMachine,
    check_conformance,
    check_session,
    measure_learning,
)


class Board:
    """A board on which modules end with these exit statuses, or never, and do nothing."""

    def __init__(self, *statuses, printed="said\n"):
        self.statuses = list(statuses)
        self.printed = printed
        self.calls = []

    def run_module(self, module, arguments, timeout=None, environment=None):
        arguments = [str(argument) for argument in arguments]
        self.calls.append((module, arguments, timeout, environment))
        status = self.statuses.pop(0)
        if status is None:
            raise subprocess.TimeoutExpired("qemu", timeout)
        return subprocess.CompletedProcess("qemu", status, self.printed, "complained\n")


def test_a_session_that_is_killed_and_gone_on_with_ends_as_if_nothing_had_been(course, tmp_path):
    distance = check_session(ThisMachine(), course, tmp_path)
    assert distance.faults() == []


def test_a_planted_fault_turns_it_red(course, tmp_path):
    distance = check_session(ThisMachine(), course, tmp_path, options=["--flip-sign=prompts.g"])
    assert any("tensors of the state are off" in fault for fault in distance.faults())


def test_what_a_board_is_asked_to_run(course, learnt):
    board = Board(-9, 0)
    with pytest.raises(BoardError, match="left a state of 3; 2 would be right"):
        check_session(board, course, learnt, 600, ["--flip-sign=x"])
    ((module, arguments, timeout, _),) = board.calls
    assert module == session.__name__
    assert arguments == [str(course), str(learnt), "--flip-sign=x", "--killed"]
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
    with pytest.raises(BoardError, match=message):
        check_session(Board(*statuses), tmp_path, tmp_path, 600)


def test_a_session_that_fails_when_it_is_gone_on_with(course, learnt, monkeypatch):
    monkeypatch.setattr(session, "KILLED_LESSON", 3)
    with pytest.raises(BoardError, match="ended with status 3, 0 would be right"):
        check_session(Board(-9, 3), course, learnt)


def test_the_suite_runs_with_the_engine_that_has_to_be_there(tmp_path):
    board = Board(0, printed="x\n=== 5 passed in 3.1s ===\n")
    assert check_conformance(board, "executorch", tmp_path, 60) == "5 passed in 3.1s"
    ((module, arguments, timeout, environment),) = board.calls
    assert (module, timeout) == ("pytest", 60)
    assert arguments[-2].endswith("engines/test_conformance.py")
    assert environment == {"CBPNET_ENGINE": "executorch", "CBPNET_VECTORS": str(tmp_path)}


def test_the_suite_runs_here_and_a_test_that_fails_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "_CHOSEN", "says_what and [executorch]")
    assert check_conformance(ThisMachine(), "executorch", tmp_path).startswith("1 passed")
    monkeypatch.setattr(check, "_CHOSEN", "learns_and_says and [executorch-tasks_fp32]")
    with pytest.raises(BoardError, match=r"status 1, 0 would be right(.|\n)*lessons.json"):
        check_conformance(ThisMachine(), "executorch", tmp_path)


def test_the_memory_is_what_the_command_says(tmp_path):
    board = Board(0, printed=json.dumps({"peak_rss_mb": 123.4}))
    found = measure_learning(board, tmp_path / "x.pte", tmp_path / "p", tmp_path / "s", 60)
    assert found == 123.4
    ((module, arguments, timeout, _),) = board.calls
    assert (module, timeout) == ("mobile", 60)
    assert arguments[:2] == ["learn", str(tmp_path / "x.pte")]
    assert arguments[-1] == "--json"


def test_the_memory_of_this_machine(course, tmp_path):
    out = tmp_path / "state.safetensors"
    folders = tmp_path / "lesson"
    for label in ("ant", "bee"):
        (folders / label).mkdir(parents=True)
        for picture in course.glob(f"{label}_0_*.png"):
            (folders / label / picture.name).write_bytes(picture.read_bytes())
    assert 50 < measure_learning(ThisMachine(), course / "bundle.pte", folders, out) < 5000
    assert out.exists()
