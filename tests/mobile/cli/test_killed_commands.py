"""Commands that write a state, killed at each of their steps that change files."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cbpnet.run.state_file import load_with_journal
from mobile.cli import main

STATE = "pets.safetensors"

# The command, and commands that come before it.
COMMANDS: dict[str, tuple[str, ...]] = {
    "learn pets.pte --images b": (),
    "forget pets.pte red": (),
    "rename pets.pte red rot": (),
    "relabel pets.pte a/red/0.png --as green": (),
    "undo pets.pte": (),
    "redo pets.pte": ("undo pets.pte",),
    "merge x.safetensors y.safetensors --bundle pets.pte --out pets.safetensors": (
        "learn pets.pte --images b --state pets.safetensors --out x.safetensors",
        "rename pets.pte red rot --state x.safetensors",
        "learn pets.pte --images c --state pets.safetensors --out y.safetensors",
    ),
}

# A moment is before or after a call by which a file comes, changes or goes. How many there are, a
# process tells that is not killed; the others are killed at moments spread evenly over these.
KILLS = """
import json, os, shutil, signal, sys
from contextlib import suppress
from pathlib import Path
import mobile.device.runtime  # here, once for all processes
with suppress(ImportError):
    import mobile.device.engines.executorch
from mobile.cli import main

before, folder, command, most = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
STEPS = {"open", "write", "flush", "fsync", "replace", "link", "unlink", "ftruncate", "pwrite"} | {
    "flock"
}
WRITERS = {"cbpnet.host.atomic", "mobile.device.kept_file", "mobile.device.state_lock"}


def run(moment):
    '''Run the command in a copy of the folder, and return the process's status and its moments.'''
    copy = folder / str(moment)
    shutil.copytree(before, copy)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        seen = 0

        def count(frame, event, called):
            nonlocal seen
            if event not in ("c_call", "c_return") or called.__name__ not in STEPS:
                return
            if frame.f_globals["__name__"].startswith("pathlib"):
                frame = frame.f_back
            if frame.f_globals["__name__"] in WRITERS:
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            os.chdir(copy)
            sys.setprofile(count)
            main(command.split(), standalone_mode=False)
            sys.setprofile(None)
            os.write(theirs, str(seen).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(theirs)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(ours) as file:
        return status, file.read()


status, seen = run(0)
if status:
    sys.exit(status)
moments = int(seen)
number = min(most, moments)
chosen = [1 + place * (moments - 1) // max(number - 1, 1) for place in range(number)]
for moment in chosen:
    status, _ = run(moment)
    if status != -signal.SIGKILL:
        sys.exit(f"not killed at moment {moment} of {moments}: {status}")
print(json.dumps(chosen))
"""


def content(folder: Path) -> tuple[Any, ...]:
    """All that a state and its kept pictures hold, but what no two lessons have in common."""
    state, info, journal = load_with_journal(folder / STATE)
    progress = json.loads(json.dumps(info.progress))
    for event in progress["journal"]["events"]:
        event |= {"id": "", "time": 0}
    kept = folder / f"{STATE}.{progress['kept']['sha256'][:16]}.kept.zip"
    tensors = {name: value.tobytes() for name, value in {**state, **journal}.items()}
    return tensors, dataclasses.replace(info, progress=progress), kept.read_bytes()


@pytest.fixture
def folder(
    one_pass_bundle: Path,
    write_classes: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with a bundle, two lessons learnt with kept pictures, and pictures of more."""
    place = tmp_path / "before"
    place.mkdir()
    shutil.copy(one_pass_bundle, place / "pets.pte")
    monkeypatch.chdir(place)
    for lesson, colours in {"a": ("red", "green"), "b": ("blue", "red"), "c": ("grey",)}.items():
        write_classes(place / lesson, *colours, seed=ord(lesson))
    run("learn pets.pte --images a --keep 2")
    run("learn pets.pte --images c")
    return place


def run(command: str) -> None:
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("most", [2, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_leaves_the_old_state_or_the_new_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, most: int
) -> None:
    """Whichever it is, the next command goes on from it and clears what the killed one left."""
    for earlier in COMMANDS[command]:
        run(earlier)
    killed = tmp_path / "killed"
    killed.mkdir()
    script = [sys.executable, "-c", KILLS, str(folder), str(killed), command, str(most)]
    result = subprocess.run(script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    moments = json.loads(result.stdout.splitlines()[-1])
    old, new = content(folder), content(killed / "0")
    assert old != new
    found = [content(killed / str(moment)) for moment in moments]
    renewed = found.index(new)
    assert found == [old] * renewed + [new] * (len(found) - renewed)
    assert renewed > 0
    assert len(moments) >= min(most, 15)  # a hundred of seven commands
    others = {path.name for path in folder.iterdir() if not path.name.startswith(f"{STATE}.")}
    for moment in moments:
        place = killed / str(moment)
        monkeypatch.chdir(place)
        run("rename pets.pte green leaf")
        after = content(place)
        assert "leaf" in after[1].class_names
        states = f"{STATE}.1", STATE
        progress = [load_with_journal(place / name)[1].progress for name in states]
        assert progress[0]["generation"] + 1 == progress[1]["generation"]
        kept = [f"{STATE}.{one['kept']['sha256'][:16]}.kept.zip" for one in progress]
        assert {path.name for path in place.iterdir()} == {*others, *states, *kept}
