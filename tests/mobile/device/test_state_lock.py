"""One writer of a state at a time, and nothing that two of them learn is lost."""

import errno
import fcntl
import json
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from cbpnet.run.state_file import load_state
from mobile.device.runtime import OnDeviceLearner
from mobile.device.state_lock import lock_path, writing

HOLDER = """
import sys
from pathlib import Path
from mobile.device.state_lock import writing

with writing(Path(sys.argv[1]), 0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "pets.safetensors"


@pytest.fixture
def holder(state: Path):
    """Another process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(state)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_says_who_holds_it_and_goes_with_it(state: Path) -> None:
    with writing(state, 0):
        held = json.loads(lock_path(state).read_text())
        assert held["pid"] == os.getpid()
        assert held["host"] == socket.gethostname()
        assert held.keys() == {"pid", "command", "host", "since"}
    assert list(state.parent.iterdir()) == []


def test_a_disk_that_takes_no_name_and_gives_no_file_away_still_locks(
    state: Path, monkeypatch
) -> None:
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        patch.setattr(Path, "unlink", refuse)
        with (
            writing(state, wait=0),
            pytest.raises(InputError, match="is being written by another process"),
        ):
            writing(state, wait=0).__enter__()
    with writing(state, wait=0):
        pass
    assert not lock_path(state).exists()


def test_a_second_writer_is_told_who_the_first_is(state: Path, holder) -> None:
    said: list[str] = []
    with (
        pytest.raises(InputError, match="wait for it to end, or longer with --wait") as refusal,
        writing(state, 0.15, said.append),
    ):
        pass
    named = f"`-c {state}` (process {holder.pid} on {socket.gethostname()}, since 2"
    assert str(refusal.value).startswith(f"{state} is being written by {named}")
    assert len(said) == 1
    assert said[0].startswith(f"waiting for {named}")


@pytest.mark.parametrize("end", ["it ends", "it is killed"])
def test_a_second_writer_goes_on_when_the_first_ends(state: Path, holder, end: str) -> None:
    def let_it_end(_: str) -> None:
        if end == "it ends":
            holder.stdin.close()
        else:
            holder.send_signal(signal.SIGKILL)

    with writing(state, math.inf, let_it_end):
        assert json.loads(lock_path(state).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "[]", '{"pid": 3}', "\x00"])
def test_a_holder_that_has_not_said_who_it_is_is_another_process(state: Path, content: str) -> None:
    lock_path(state).write_text(content)
    with lock_path(state).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="written by another process; wait"), writing(state, 0):
            pass
    with writing(state, 0):  # what is left of a killed holder is in nobody's way
        pass


def test_where_there_are_no_locks_a_sentence_says_so(state: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said: list[str] = []
    with writing(state, 0, said.append):
        assert said == [
            f"{state.parent} is on a file system without locks; let one program at a time learn"
        ]
    assert list(state.parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named() -> None:
    refusal = pytest.raises(InputError, match=r"cannot make /proc/nowhere/x\.lock")
    with refusal, writing(Path("/proc/nowhere/x"), 0):
        pass


def test_a_file_that_another_has_written_since_is_not_overwritten(
    bundle: Path, pictures, state: Path
) -> None:
    first = OnDeviceLearner(bundle)
    first.learn({"red": pictures("red", 2)}, epochs=1)
    first.save(state)
    second = OnDeviceLearner(bundle, state)
    second.learn({"blue": pictures("blue", 2)}, epochs=1)
    second.save(state)
    assert not first.is_current(state)
    assert second.is_current(state)
    first.learn({"green": pictures("green", 2)}, epochs=1)
    with pytest.raises(InputError, match=r"of generation 2, and what .* goes on from 1; go on"):
        first.save(state)
    assert load_state(state)[1].class_names == ("red", "blue")
    first.save(state.with_name("other"))  # a new file is anybody's
    first.resume(state)
    assert first.is_current(state)
    first.learn({"green": pictures("green", 2)}, epochs=1)
    first.save(state)
    info = load_state(state)[1]
    assert info.class_names == ("red", "blue", "green")
    assert info.progress == {"lessons": 3, "generation": 3}
    state.unlink()
    first.save(state)  # nothing is lost


TWO_WRITERS = """
import os, sys
from contextlib import suppress
with suppress(ImportError):  # once for all processes
    import executorch.extension.pybindings._portable_lib
from mobile.cli import main

times, *commands = sys.argv[1:]
children = []
for command in commands:
    child = os.fork()
    if not child:
        code = 1
        try:
            for _ in range(int(times)):
                main(command.split(), standalone_mode=False)
            code = 0
        finally:
            os._exit(code)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.fixture
def two_writers(one_pass_bundle: Path, pictures, write_classes, state: Path):
    """Have two processes give one state each so many lessons, and return what it then holds."""

    def run(times: int, other: str) -> tuple[list[float], dict[str, int]]:
        folder = state.parent
        write_classes(folder / "red", "red", count=2)
        learn = f"learn {one_pass_bundle} --state {state} --epochs 1 --wait 600 --images"
        learner = OnDeviceLearner(one_pass_bundle)
        learner.learn({label: pictures(label, 2) for label in ("red", "blue")}, epochs=1)
        learner.save(state)
        if other == "learn":
            write_classes(folder / "blue", "blue", count=2)
            second = f"{learn} {folder}/blue"
        else:
            for number in range(times):
                write_classes(folder / "inbox" / "waiting" / str(number), "blue", count=2)
            second = (
                f"watch {one_pass_bundle} --state {state} --inbox {folder}/inbox --once --epochs 1"
            )
        command = [sys.executable, "-c", TWO_WRITERS, str(times), f"{learn} {folder}/red", second]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        found, info = load_state(state)
        return found["classes.count"][:2].tolist(), info.progress

    return run


@pytest.mark.parametrize("other", ["learn", "watch"])
@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_two_processes_lose_no_lesson(two_writers, times: int, other: str) -> None:
    counts, progress = two_writers(times, other)
    assert counts == [2 + 2 * times] * 2
    assert (progress["lessons"], progress["generation"]) == (1 + 2 * times, 1 + 2 * times)
