"""What ends an attempt is known afterwards; each process here is ended in native code."""

import faulthandler
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.attempts import Attempt, Attempts, forget, how_it_ended, read_attempts
from mobile.device.inbox import Inbox
from mobile.device.runtime import OnDeviceLearner

ATTEMPT = """
import ctypes, signal, sys
from pathlib import Path
from mobile.device.attempts import Attempt
signal.signal(signal.SIGINT, lambda *_: None)  # else Python may hear it before it hangs
mutex = ctypes.create_string_buffer(64)
with Attempt(Path(sys.argv[1]), 1_000_000):
    print("begun", flush=True)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)  # hangs, and keeps Python's lock
"""


@pytest.mark.parametrize(
    ("number", "sentence", "asked"),
    [
        (signal.SIGTERM, "it was told to stop", True),
        (signal.SIGINT, "it was told to stop", True),
        (signal.SIGKILL, "it was killed, most likely for lack of memory, or the power went", False),
        (signal.SIGABRT, "it crashed (Aborted)", False),
        (signal.SIGBUS, "it crashed (Bus error)", False),
    ],
)
def test_a_signal_in_native_code(tmp_path: Path, number: int, sentence: str, asked: bool) -> None:
    lesson = tmp_path / "lesson"
    command = [sys.executable, "-c", ATTEMPT, str(lesson)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        if number == signal.SIGINT:  # Python itself would hear it after the native call
            while not how_it_ended(lesson).asked:
                time.sleep(0.01)
            process.kill()
    ending = how_it_ended(lesson)
    assert (ending.sentence, ending.asked) == (sentence, asked)


def test_one_that_ends_by_itself_leaves_no_record(tmp_path: Path) -> None:
    before = faulthandler.is_enabled()
    with Attempt(tmp_path / "a", 1_000_000) as attempt:
        attempt.progress()
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError), Attempt(tmp_path / "a", 1_000_000):
        raise InputError("a picture cannot be used")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MemoryError), Attempt(tmp_path / "a", 1_000_000):
        raise MemoryError
    assert how_it_ended(tmp_path / "a").sentence == "there was not memory enough (MemoryError: )"
    assert faulthandler.is_enabled() == before
    forget(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_being_told_to_stop_counts_as_no_attempt(
    bundle: Path, write_classes, tmp_path: Path
) -> None:
    lesson = write_classes(tmp_path / "learning" / "a", "red")
    Attempts("0123", begun=2).write(lesson)
    lesson.with_name("a.ended").write_text("Current thread 0x01 (most recent call first):\n")
    learner, said = OnDeviceLearner(bundle), []
    inbox = Inbox(tmp_path, learner, tmp_path / "state", say=said.append)

    def learn(images):
        assert read_attempts(lesson) == Attempts("0123", begun=2)
        return learner.learn(images, epochs=1)

    found = inbox.learn_next(learn)
    assert found is not None
    assert (found[0], found[1][0].new, said) == ("a", ("red",), [])
