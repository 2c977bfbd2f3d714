"""An inbox of all that may lie in one: what is good is learnt, and what is not says why."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from cbpnet.run.state_file import load_state
from mobile.device.inbox import Inbox
from mobile.device.runtime import OnDeviceLearner

# What a service manager does: a process that has failed is started anew. A class's name says what
# its lesson does to the process.
SERVICE = """
import ctypes, json, os, signal, sys
from contextlib import suppress
from pathlib import Path
with suppress(ImportError):  # once for all processes
    import executorch.extension.pybindings._portable_lib
from mobile.device.inbox import Inbox
from mobile.device.runtime import OnDeviceLearner

bundle, folder = map(Path, sys.argv[1:])
mutex = ctypes.create_string_buffer(64)

def fail(error):
    raise error

HARMS = {
    "kills": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hangs": lambda: [ctypes.PyDLL(None).pthread_mutex_lock(mutex) for _ in range(2)],
    "raises": lambda: fail(RuntimeError("error 0x12")),
    "exhausts": lambda: fail(MemoryError()),
}
rename = Path.rename

def rename_own(path, target):
    if path.name.endswith("foreign"):
        raise PermissionError(13, "Permission denied")
    return rename(path, target)

def watch():
    Path.rename = rename_own
    state = folder.parent / "state.safetensors"
    learner = OnDeviceLearner(bundle, state if state.exists() else None)
    inbox = Inbox(folder, learner, state, patience=3)
    def learn(images):
        for label in images:
            HARMS.get(label, int)()
        return learner.learn(images, epochs=1, progress=inbox.progress)
    while inbox.learn_next(learn) is not None:
        pass

starts = 0
while True:
    starts += 1
    child = os.fork()
    if not child:
        try:
            watch()
        except Exception:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(json.dumps(starts))
"""
TWICE = "the process was ended 2 times while it learnt this lesson; the last time "
REASONS = {
    "b_kills": f"{TWICE}it was killed, most likely for lack of memory, or the power went; put it",
    "c_crashes": f"{TWICE}it crashed (Segmentation fault); put it",
    "d_hangs": f"{TWICE}it hung: no picture was done with for 0:00:03 (--patience); put it",
    "e_raises": f"{TWICE}it failed (RuntimeError: error 0x12); put it",
    "f_exhausts": f"{TWICE}there was not memory enough (MemoryError: ); put it",
    "g_empty": "holds no class folder with a readable image",
    "h_letters": "a.jpg: cannot be read as an image (it is in no image format that is read here)",
    "i_truncated": "a.png: cannot be read as an image",
    "j_pipe": "that are no images (cat/a.jpg)",
    "k_escape": r"class folder 'cat\x1b[2J' has the character '\x1b', which cannot be shown",
    "l_twins": "classes 'Cat' and 'cat' differ in case or Unicode form only",
    "m_nested": "ignored 1 image in folders within classes: cat/more/a.png",
}
GOOD = ("a", "n\x1b]0;x\x07", "o" * 252, "p" * 255, "q", "²-r", "z")


def test_all_that_is_good_is_learnt_and_all_else_says_why(
    bundle: Path, write_classes, tmp_path: Path
) -> None:
    folder = tmp_path / "inbox"
    waiting, learning = folder / "waiting", folder / "learning"
    for number, name in enumerate(GOOD):
        write_classes((learning if name == "²-r" else waiting) / name, "red", seed=number)
    Path(waiting / "q" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    write_classes(waiting / "foreign", "red")
    for name in REASONS:
        (waiting / name / "cat").mkdir(parents=True)
    for name in ("b_kills", "c_crashes", "d_hangs", "e_raises", "f_exhausts"):
        (waiting / name / "cat").rename(waiting / name / name[2:])
        Image.new("RGB", (8, 8)).save(waiting / name / name[2:] / "a.png")
    (waiting / "h_letters" / "cat" / "a.jpg").write_text("a letter")
    Image.effect_noise((64, 64), 50).save(waiting / "i_truncated" / "cat" / "a.png")
    os.truncate(waiting / "i_truncated" / "cat" / "a.png", 500)
    os.mkfifo(waiting / "j_pipe" / "cat" / "a.jpg")
    (waiting / "k_escape" / "cat").rename(waiting / "k_escape" / "cat\x1b[2J")
    (waiting / "l_twins" / "Cat").mkdir()
    (waiting / "m_nested" / "cat" / "more").mkdir()
    Image.new("RGB", (8, 8)).save(waiting / "m_nested" / "cat" / "more" / "a.png")
    (waiting / "link").symlink_to(tmp_path / "nowhere")

    command = [sys.executable, "-c", SERVICE, str(bundle), str(folder)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout) == 1 + 2 * 5

    learnt = {path.name for path in (folder / "learnt").iterdir() if path.is_dir()}
    wanted = {name if name == "²-r" else name[:200] for name in GOOD}
    assert {name if name == "²-r" else name[7:] for name in learnt} == wanted
    _, info = load_state(tmp_path / "state.safetensors")
    assert (info.class_names, info.progress["lessons"]) == (("red",), len(GOOD))
    (text,) = (folder / "learnt").glob("*.txt")
    assert text.name.endswith("-q.txt")
    assert "broken.jpg: cannot be read as an image" in text.read_text()

    refused = {path.name[7:]: path for path in (folder / "refused").iterdir() if path.is_dir()}
    assert refused.keys() == REASONS.keys()
    for name, path in refused.items():
        assert REASONS[name] in path.with_name(f"{path.name}.txt").read_text()
    assert list(learning.iterdir()) == []
    assert {path.name for path in waiting.iterdir()} == {"foreign", "link"}
    reason = (folder / "refused" / "foreign.txt").read_text()
    assert reason.startswith(f"cannot move {waiting / 'foreign'} to ")


@pytest.mark.parametrize("folder", ["learnt", "refused"])
def test_what_cannot_be_moved_from_learning_is_not_learnt_again(
    bundle: Path, write_classes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    write_classes(inbox / "learning" / "stuck", "red")
    if folder == "refused":
        (inbox / "learning" / "stuck" / "RED").mkdir()
    write_classes(inbox / "waiting" / "next", "blue")
    rename = Path.rename

    def rename_own(path: Path, target: Path) -> Path:
        if path.name == "stuck":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_own)
    learnt: list[str] = []
    for _ in range(2):  # and after a new start
        learner = OnDeviceLearner(bundle, state if state.exists() else None)
        lessons = Inbox(inbox, learner, state)
        while found := lessons.learn_next(partial(learner.learn, epochs=1)):
            learnt += [label for lesson in found[1] for label in lesson.new]
    assert learnt == (["red", "blue"] if folder == "learnt" else ["blue"])
    assert (inbox / "learning" / "stuck").is_dir()
    assert "cannot move" in (inbox / "refused" / "stuck.txt").read_text() or folder == "refused"

    monkeypatch.undo()
    learner = OnDeviceLearner(bundle, state)
    assert Inbox(inbox, learner, state).learn_next(lambda _: pytest.fail("again")) is None
    assert (inbox / folder / "stuck").is_dir()
