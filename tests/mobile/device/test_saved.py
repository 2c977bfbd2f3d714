"""A state and the pictures beside it: they go on together, whatever fails or is killed."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig
from cbpnet.method.initial import draw_state
from cbpnet.run.state_file import load_state, save_state
from mobile.device.runtime import OnDeviceLearner


@pytest.fixture
def learner(one_pass_bundle):
    return OnDeviceLearner(one_pass_bundle)


def pair(folder):
    """All that a state and its kept pictures hold, bit for bit, but its journal and its count."""
    path = folder / "state"
    state, info = load_state(path)
    kept = info.progress.get("kept")
    name = f"state.{kept['sha256'][:16]}.kept.zip" if kept else None
    return (
        {name: value.tobytes() for name, value in state.items()},
        dataclasses.replace(info, progress={**info.progress, "generation": 0, "journal": None}),
        (folder / name).read_bytes() if name else b"",
    )


def test_a_saved_state_goes_on_as_if_never_saved_with_its_pictures(
    learner, one_pass_bundle, pictures, tmp_path
):
    whole = OnDeviceLearner(one_pass_bundle)
    path = tmp_path / "parts" / "state"
    path.parent.mkdir()
    lessons = (("red", "green"), ("blue",), ("red", "grey"))
    for number, labels in enumerate(lessons):
        given = {label: pictures(label, 6, seed=number) for label in labels}
        keep = 3 if number == 0 else None  # remembered
        whole.learn(given, keep=keep)
        part = OnDeviceLearner(one_pass_bundle, path if path.exists() else None)
        part.learn(given, keep=keep)
        part.save(path)
    (tmp_path / "whole").mkdir()
    whole.save(tmp_path / "whole" / "state")
    assert pair(path.parent) == pair(tmp_path / "whole")
    resumed = OnDeviceLearner(one_pass_bundle, path)
    assert resumed.kept == whole.kept
    assert (whole.kept.limit, [len(few) for few in whole.kept.classes]) == (3, [3] * 4)
    assert len(list(path.parent.iterdir())) == 4  # two states, each with its pictures
    assert resumed.predict(pictures("green", 3)) == whole.predict(pictures("green", 3))


def test_a_state_whose_pictures_are_elsewhere_says_what_to_do(
    learner, one_pass_bundle, pictures, tmp_path
):
    path = tmp_path / "state"
    for label in ("red", "green"):
        learner.learn({label: pictures(label, 3)}, keep=2)
        learner.save(path)
    digits = load_state(path)[1].progress["kept"]["sha256"][:16]
    kept = tmp_path / f"state.{digits}.kept.zip"
    right = r"put the file there that was saved with it, or go on without pictures \(--keep 0\)$"
    content = kept.read_bytes()
    kept.write_bytes(content[:-1])
    with pytest.raises(
        InputError, match=f"has not the pictures that .*state was saved with; {right}"
    ):
        OnDeviceLearner(one_pass_bundle, path)
    kept.unlink()
    with pytest.raises(InputError, match=rf"kept.zip, which cannot be read \(No such.*\); {right}"):
        OnDeviceLearner(one_pass_bundle, path)
    alone = OnDeviceLearner(one_pass_bundle, path, pictures=False)
    assert alone.predict(pictures("red", 2)) == learner.predict(pictures("red", 2))
    alone.learn({"blue": pictures("blue", 3)})
    alone.save(path)
    assert {each.name for each in tmp_path.iterdir()} == {"state", "state.1"}
    progress = load_state(path)[1].progress
    assert (progress["lessons"], progress["generation"]) == (3, 3)
    assert "kept" not in progress


def test_a_state_with_less_room_moves_in_and_others_are_refused(
    learner, one_pass_bundle, bundle, pictures, tmp_path, forge
):
    path = tmp_path / "state"
    learner.learn({"red": pictures("red", 3), "green": pictures("green", 3)})
    learner.save(path)
    before = learner.predict(pictures("red", 2))
    with pytest.raises(InputError, match="one-pass learner and the bundle's adaptation is cbpnet"):
        OnDeviceLearner(bundle, path)
    state, info = load_state(path)

    small = dataclasses.replace(info, classes=3, progress={"lessons": 1})
    cut = {n: state[n][: s[0]] for n, s in small.layout.items()}
    save_state(path, type(state)(small.layout, cut), small)
    moved = OnDeviceLearner(one_pass_bundle, path)
    assert moved.predict(pictures("red", 2)) == before
    moved.learn({label: pictures(label, 3) for label in ("blue", "grey", "white", "pink")})
    assert len(moved.class_names) == 6

    save_state(path, state, dataclasses.replace(info, progress={}))
    one = dataclasses.replace(info, class_names=("red",), progress={})
    forge(path, info=json.dumps(dataclasses.asdict(one)))
    with pytest.raises(InputError, match="knows 2 classes and names 1 of them"):
        OnDeviceLearner(one_pass_bundle, path)
    for kept, reason in (
        ({"limit": 0, "sha256": "0" * 64}, "recorded as 0 a class"),
        ({"limit": 2, "sha256": "../" * 20}, "SHA-256 '../"),
        ({"limit": 2}, "missing required field `sha256`"),
    ):
        progress = {"lessons": 1, "kept": kept}
        save_state(path, state, dataclasses.replace(info, progress=progress))
        with pytest.raises(InputError, match=reason):
            OnDeviceLearner(one_pass_bundle, path)

    config = LearnerConfig()
    paper = dataclasses.replace(info, config=config, class_names=(), tasks=2)
    save_state(path, draw_state(config, 12, 6, 2, RandomStream(0, 0)), paper)
    with pytest.raises(InputError, match=f"`cbpnet-mobile move {path} --bundle BUNDLE --out FILE`"):
        OnDeviceLearner(one_pass_bundle, path)


@pytest.mark.parametrize("failing", ["pictures", "state"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_what_cannot_be_written_leaves_the_old_pair(
    learner, one_pass_bundle, pictures, tmp_path, monkeypatch, failing, code
):
    path = tmp_path / "state"
    learner.learn({"red": pictures("red", 2)}, keep=1)
    learner.save(path)
    before, files = pair(tmp_path), sorted(tmp_path.iterdir())
    real, calls = os.fsync, []

    def fail(descriptor):
        calls.append(descriptor)
        # Each file and then its folder is flushed: the state is the third.
        if failing == "pictures" or len(calls) > 2:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    learner.learn({"green": pictures("green", 2)})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(InputError, match=f"^cannot write .*: {os.strerror(code)}; name a file"):
            learner.save(path)
    assert pair(tmp_path) == before
    assert sorted(tmp_path.iterdir()) == files
    OnDeviceLearner(one_pass_bundle, path)


KILLS = """
import os, signal, sys
from contextlib import suppress
from itertools import count
from pathlib import Path
import numpy as np
with suppress(ImportError):  # once for all processes
    import executorch.extension.pybindings._portable_lib
from cbpnet.run import state_file
from mobile.device import saved
from mobile.device.runtime import OnDeviceLearner

bundle, before, folder = map(Path, sys.argv[1:])
pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 9, 3)).astype(np.uint8)
images = {"blue": list(pixels[0]), "green": list(pixels[1])}
# The pictures are written, then the state, then what is old goes.
STEPS = (saved, "write_atomically"), (state_file, "write_atomically"), (saved, "remove_others")


# What changes files; before and after each is a moment, and no others differ on the disc.
CALLS = {"open", "write", "flush", "fsync", "fchmod", "flock", "link", "replace", "unlink"}


def counted(event, called, count_down):
    if event in ("c_call", "c_return") and called.__name__ in CALLS:
        count_down()


def learn_and_save(path, moment):
    def count_down(*_):
        nonlocal moment
        moment -= 1
        if not moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(step):
        def take(*arguments):
            sys.setprofile(lambda _, event, called: counted(event, called, count_down))
            step(*arguments)
            sys.setprofile(None)

        return take

    for module, name in STEPS:
        setattr(module, name, watched(getattr(module, name)))
    learner = OnDeviceLearner(bundle, path)
    learner.learn(images, epochs=2, batch_size=3, progress=count_down)
    learner.save(path)


for moment in count(1):
    copy = folder / str(moment)
    copy.mkdir()
    for file in before.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    child = os.fork()
    if not child:
        try:
            learn_and_save(copy / "state", moment)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != -signal.SIGKILL:
        sys.exit(code)  # it came to its end
"""


def test_killed_at_any_moment_the_pair_is_the_last_or_the_one_before(
    learner, one_pass_bundle, pictures, tmp_path
):
    """Processes learn a lesson and write it, each killed one step later than the one before."""
    before, folder = tmp_path / "before", tmp_path / "killed"
    for each in (before, folder):
        each.mkdir()
    learner.learn({label: pictures(label, 3) for label in ("red", "green")}, keep=1)
    learner.save(before / "state")
    command = [sys.executable, "-c", KILLS, str(one_pass_bundle), str(before), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    folders = [folder / str(1 + n) for n in range(len(list(folder.iterdir())))]
    found = [pair(one) for one in folders]
    first, last = pair(before), found[-1]
    assert last[1].progress["lessons"] == 2
    renewed = found.index(last)
    assert found == [first] * renewed + [last] * (len(found) - renewed)
    assert renewed > 40
    # Written but not yet the state's, and no longer the state's: left by some, removed by the next.
    leftovers = [{path.name for path in one.glob("*.kept.zip")} for one in folders]
    assert max(map(len, leftovers[:renewed])) == max(map(len, leftovers[renewed:])) == 2
    torn = folders[max(n for n in range(renewed) if len(leftovers[n]) == 2)]
    resumed = OnDeviceLearner(one_pass_bundle, Path(torn) / "state")
    assert resumed.kept == learner.kept
    resumed.learn({"white": pictures("white", 2)})
    resumed.save(torn / "state")
    assert len(list(torn.glob("*.kept.zip"))) == 2  # its own, and those of the state before
