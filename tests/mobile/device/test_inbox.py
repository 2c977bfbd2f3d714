"""Lessons in a folder: learnt once each, whatever stops when."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from cbpnet.run.state_file import load_state
from mobile.device import attempts
from mobile.device.inbox import Inbox
from mobile.device.runtime import OnDeviceLearner


class PowerCut(BaseException):
    """Nothing runs after it."""


@pytest.fixture
def lesson(write_classes: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Put a lesson into the inbox."""

    def write(name: str, *labels: str) -> Path:
        write_classes(tmp_path / "inbox" / "waiting" / name, *labels)
        return tmp_path / "inbox"

    return write


def open_inbox(bundle: Path, folder: Path) -> tuple[Inbox, OnDeviceLearner]:
    state = folder.parent / "state.safetensors"
    learner = OnDeviceLearner(bundle, state if state.exists() else None)
    return Inbox(folder, learner, state), learner


def learn_all(bundle: Path, folder: Path) -> list[str]:
    inbox, learner = open_inbox(bundle, folder)
    names = []
    while (found := inbox.learn_next(lambda images: learner.learn(images, epochs=1))) is not None:
        names.append(found[0])
    return names


def names(folder: Path) -> dict[str, list[str]]:
    return {
        part: sorted(
            path.name
            for path in (folder / part).iterdir()
            if path.suffix not in (".ended", ".json") or path.is_dir()
        )
        for part in ("waiting", "learning", "learnt", "refused")
    }


def state_of(folder: Path) -> dict[str, list[float]]:
    return {
        name: value.tolist()
        for name, value in load_state(folder.parent / "state.safetensors")[0].items()
    }


def test_lessons_are_learnt_by_name_and_moved(bundle: Path, lesson) -> None:
    folder = lesson("b", "blue")
    lesson("a", "red", "green")
    lesson(".c", "grey")  # still being copied
    assert learn_all(bundle, folder) == ["000000-a", "000001-b"]
    assert names(folder) == {
        "waiting": [".c"],
        "learning": [],
        "learnt": ["000000-a", "000001-b"],
        "refused": [],
    }
    _, info = load_state(folder.parent / "state.safetensors")
    assert info.class_names == ("green", "red", "blue")
    assert info.progress["lessons"] == 2


def test_a_lesson_that_cannot_be_used_is_refused_with_the_reason(bundle: Path, lesson) -> None:
    folder = lesson("b", "blue")
    (folder / "waiting" / "a" / "cat").mkdir(parents=True)
    (folder / "waiting" / "a" / "cat" / "1.jpg").write_text("a letter")
    assert learn_all(bundle, folder) == ["000000-a", "000000-b"]
    found = names(folder)
    assert found["learnt"] == ["000000-b"]
    assert found["refused"] == ["000000-a", "000000-a.txt"]
    assert (
        "no class folder with a readable image" in (folder / "refused" / "000000-a.txt").read_text()
    )


def test_pictures_that_are_left_out_are_told(bundle: Path, lesson) -> None:
    folder = lesson("a", "red", "blue")
    waiting = folder / "waiting" / "a"
    (waiting / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    for path in (waiting / "blue").iterdir():
        path.write_bytes(b"")
    said: list[str] = []
    learner = OnDeviceLearner(bundle)
    inbox = Inbox(folder, learner, folder.parent / "state", say=said.append)
    inbox.learn_next(lambda images: learner.learn(images, epochs=1))
    assert learner.class_names == ("red",)
    assert any("broken.jpg: cannot be read as an image" in sentence for sentence in said)
    assert any("skipped 1 of 2 classes, without a readable image: blue" in one for one in said)


@pytest.mark.parametrize("moment", ["before the lesson", "after it", "after the state"])
def test_a_power_cut_loses_and_doubles_nothing(bundle: Path, lesson, monkeypatch, moment) -> None:
    folder = lesson("a", "red")
    lesson("b", "blue")
    inbox, learner = open_inbox(bundle, folder)
    inbox.learn_next(lambda images: learner.learn(images, epochs=1))

    def cut(*_: object) -> None:
        raise PowerCut

    def learn(images):
        if moment == "before the lesson":
            cut()
        lessons = learner.learn(images, epochs=1)
        if moment == "after it":
            cut()
        return lessons

    real_rename, moves = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        moves.append(target)
        if moment == "after the state" and target.parent.name == "learnt":
            cut()
        return real_rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(PowerCut):
            inbox.learn_next(learn)
    assert names(folder)["learning"] == ["000001-b"]
    again = learn_all(bundle, folder)
    assert again == ([] if moment == "after the state" else ["000001-b"])
    assert names(folder)["learnt"] == ["000000-a", "000001-b"]

    whole = OnDeviceLearner(bundle)
    for name, label in (("000000-a", "red"), ("000001-b", "blue")):
        paths = sorted((folder / "learnt" / name / label).iterdir())
        whole.learn({label: paths}, epochs=1)
    whole.save(folder.parent / "whole")
    expected = load_state(folder.parent / "whole")[0]
    assert state_of(folder) == {name: value.tolist() for name, value in expected.items()}


def test_a_full_disk_ends_it_and_the_lesson_is_learnt_later(
    bundle: Path, lesson, monkeypatch
) -> None:
    folder = lesson("a", "red")
    inbox, learner = open_inbox(bundle, folder)

    def full(*_: object) -> None:
        raise InputError("cannot write state: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mobile.device.saved.save_state", full)
        with pytest.raises(InputError, match="No space left"):
            inbox.learn_next(lambda images: learner.learn(images, epochs=1))
    assert names(folder)["learning"] == ["000000-a"]
    assert learn_all(bundle, folder) == ["000000-a"]
    assert names(folder)["learnt"] == ["000000-a"]


def learn_elsewhere(bundle: Path, folder: Path, label: str, pictures) -> None:
    """Learn into the inbox's state as another program does."""
    state = folder.parent / "state.safetensors"
    other = OnDeviceLearner(bundle, state if state.exists() else None)
    other.learn({label: pictures(label, 3)}, epochs=1)
    other.save(state)


@pytest.mark.parametrize("file", ["_record_path", "_attempts_path"])
def test_a_disk_that_takes_no_record_ends_it_and_the_lesson_is_learnt_later(
    bundle: Path, lesson, monkeypatch, file: str
) -> None:
    folder = lesson("a", "red", "green")
    with monkeypatch.context() as patch:
        patch.setattr(attempts, file, lambda lesson: lesson / "no" / "such")
        with pytest.raises(InputError, match=r"cannot (write|remove) .*such"):
            learn_all(bundle, folder)
    assert names(folder)["refused"] == []
    assert len(learn_all(bundle, folder)) == 1
    assert names(folder)["refused"] == []


def test_what_another_program_learns_between_two_lessons_stays(
    one_pass_bundle: Path, lesson, pictures
) -> None:
    folder = lesson("a", "red")
    inbox, learner = open_inbox(one_pass_bundle, folder)
    learn_elsewhere(one_pass_bundle, folder, "grey", pictures)  # the state is new to the inbox
    inbox.learn_next(learner.learn)
    learn_elsewhere(one_pass_bundle, folder, "white", pictures)
    lesson("b", "blue")
    inbox.learn_next(learner.learn)
    _, info = load_state(folder.parent / "state.safetensors")
    assert info.class_names == ("grey", "red", "white", "blue")
    assert info.progress["lessons"] == 4


@pytest.mark.parametrize("saved", [False, True])
def test_an_interrupted_lesson_is_told_though_another_program_has_learnt_since(
    one_pass_bundle: Path, lesson, pictures, monkeypatch, saved: bool
) -> None:
    folder = lesson("a", "red")
    inbox, learner = open_inbox(one_pass_bundle, folder)

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(*((Inbox, "_file", cut) if saved else (learner, "learn", cut)))
        with pytest.raises(PowerCut):
            inbox.learn_next(learner.learn)
    learn_elsewhere(one_pass_bundle, folder, "blue", pictures)
    assert learn_all(one_pass_bundle, folder) == ([] if saved else ["000000-a"])
    assert names(folder)["learnt"] == ["000000-a"]
    state, info = load_state(folder.parent / "state.safetensors")
    assert sorted(info.class_names) == ["blue", "red"]
    assert state["classes.count"][:2].tolist() == [3, 3]


KILLED = """
import os, signal, sys
from contextlib import suppress
from pathlib import Path
with suppress(ImportError):  # once for all processes
    import executorch.extension.pybindings._portable_lib
from mobile.device import attempts
from mobile.device.inbox import Inbox
from mobile.device.runtime import OnDeviceLearner

bundle, folder = map(Path, sys.argv[1:])
for _ in range(2):
    child = os.fork()
    if not child:
        inbox = Inbox(folder, OnDeviceLearner(bundle), folder.parent / "state.safetensors")
        inbox.learn_next(lambda images: os.kill(os.getpid(), signal.SIGKILL))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""


def test_a_lesson_that_has_killed_the_process_twice_lets_the_next_one_pass(
    bundle: Path, lesson
) -> None:
    folder = lesson("a_big", "red")
    lesson("b_small", "blue")
    subprocess.run([sys.executable, "-c", KILLED, str(bundle), str(folder)], check=True)
    assert names(folder)["learning"] == ["000000-a_big"]
    assert learn_all(bundle, folder) == ["000000-a_big", "000000-b_small"]
    found = names(folder)
    assert (found["learning"], found["learnt"]) == ([], ["000000-b_small"])
    assert list((folder / "learning").iterdir()) == []
    reason = (folder / "refused" / "000000-a_big.txt").read_text()
    assert reason.startswith(
        "the process was ended 2 times while it learnt this lesson; the last time it was killed, "
        "most likely for lack of memory, or the power went; put it into waiting again"
    )
    (folder / "refused" / "000000-a_big").rename(folder / "waiting" / "a_big")
    assert learn_all(bundle, folder) == ["000001-a_big"]  # its attempts count anew


def test_a_failure_counts_as_an_attempt_and_says_so(bundle: Path, lesson) -> None:
    folder, said = lesson("a", "red"), []
    learner = OnDeviceLearner(bundle)
    inbox = Inbox(folder, learner, folder.parent / "state.safetensors", say=said.append)

    def fail(_: object) -> None:
        raise RuntimeError("the engine gave up")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            inbox.learn_next(fail)
    assert said == [
        "000000-a: the process was ended while it learnt this: it failed (RuntimeError: the engine "
        "gave up); attempt 2 of 2"
    ]
    assert inbox.learn_next(fail) == ("000000-a", [])
    reason = (folder / "refused" / "000000-a.txt").read_text()
    assert "the last time it failed (RuntimeError: the engine gave up); put it into" in reason


def test_one_that_is_asked_to_stop_has_made_no_attempt(bundle: Path, lesson) -> None:
    folder = lesson("a", "red")
    inbox, _ = open_inbox(bundle, folder)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            inbox.learn_next(stop)
    assert learn_all(bundle, folder) == ["000000-a"]
    assert names(folder)["learnt"] == ["000000-a"]


@pytest.mark.parametrize("pictured", [False, True])
def test_a_lesson_whose_name_is_not_utf_8(bundle: Path, lesson, pictured: bool) -> None:
    folder = lesson("b", "blue")
    name = os.fsdecode(b"l\xe9on")
    odd = folder / "waiting" / name
    try:
        (odd if not pictured else odd.parent).mkdir(exist_ok=True)
        if pictured:
            lesson(name, "red")
    except OSError:
        pytest.skip("this file system has no such names")
    found = learn_all(bundle, folder)
    assert found == ["000000-b", f"000001-{name}"]
    if pictured:
        assert names(folder)["learnt"] == found
    else:
        reason = folder / "refused" / f"{found[1]}.txt"
        assert r"l\udce9on: holds no class folder with a readable" in reason.read_text()


def test_a_lesson_that_cannot_be_moved_is_passed_over_and_said_once(
    bundle: Path, lesson, monkeypatch
) -> None:
    folder, said = lesson("a", "red"), []
    lesson("b", "blue")
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    learner = OnDeviceLearner(bundle)
    inbox = Inbox(folder, learner, folder.parent / "state.safetensors", say=said.append)
    for found in (("000000-b", ("blue",)), None, None):
        taught = inbox.learn_next(lambda images: learner.learn(images, epochs=1))
        assert found == (taught and (taught[0], taught[1][0].new))
    (sentence,) = said
    assert sentence.startswith(f"passed over: cannot move {folder / 'waiting' / 'a'} to ")
    assert "Permission denied; the lesson and the inbox's folders must be writable" in sentence


def test_a_name_that_fills_a_file_systems_room_is_cut(bundle: Path, lesson) -> None:
    folder = lesson("é" * 120, "red")
    assert learn_all(bundle, folder) == [f"000000-{'é' * 100}"]


@pytest.mark.parametrize("name", ["²-a", "b.json", "000099-c"])
def test_whatever_lies_in_learning_is_learnt(bundle: Path, lesson, name: str) -> None:
    folder = lesson("a", "red")
    inbox, _ = open_inbox(bundle, folder)
    (inbox.waiting / "a").rename(inbox.learning / name)
    assert learn_all(bundle, folder) == [name]
    assert list(inbox.learning.iterdir()) == []
