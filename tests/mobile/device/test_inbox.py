"""Lessons in a folder: learnt once each, whatever stops when."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from cbpnet.run.state_file import load_state
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
        part: sorted(path.name for path in (folder / part).iterdir() if path.suffix != ".json")
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
