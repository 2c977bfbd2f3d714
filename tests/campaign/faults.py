"""Every command that writes a state, killed at each of its calls and with each of them failing."""

import dataclasses
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cbpnet.run.state_file import load_with_journal
from tests.campaign.calls import Call, calls_of, run, run_with
from tests.mobile.toy_pictures import toy_pictures

__all__ = ["COMMANDS", "ERRORS", "DamageError", "try_faults"]

STATE = "pets.safetensors"
ERRORS = ("ENOSPC", "EIO", "EACCES")

# Each command, and those that come before it.
COMMANDS: dict[str, tuple[str, ...]] = {
    "learn pets.pte --images b --seed 0": (),
    "forget pets.pte red": (),
    "forget pets.pte red --for-good": (),
    "rename pets.pte red rot": (),
    "relabel pets.pte a/red/0.png --as green": (),
    "undo pets.pte": (),
    "redo pets.pte": ("undo pets.pte",),
    "merge x.safetensors y.safetensors --bundle pets.pte --out pets.safetensors": (
        "learn pets.pte --images d --seed 0 --state pets.safetensors --out x.safetensors",
        "learn pets.pte --images f --seed 0 --state pets.safetensors --out y.safetensors",
    ),
    "watch pets.pte --inbox inbox --state pets.safetensors --once": (),
}


class DamageError(Exception):
    """A state is neither the old nor the new one, or something was left lying about."""


def try_faults(
    bundle: Path,
    folder: Path,
    faults: Sequence[str],
    count: int | None,
    seed: int,
    say: Callable[[str], object],
) -> Counter[tuple[str, str]]:
    """Try commands with faults at their calls, and return how often each ended how.

    Args:
        bundle: any one-pass bundle of small pictures.
        folder: an empty one.
        faults: as `run_with` takes them.
        count: trials, spread evenly over commands, and drawn from their calls and the faults; None
            to have each call with each fault once.
        seed: draws them.
        say: is told of every damage.
    """
    found = Counter[tuple[str, str]]()
    begin = folder / "begin"
    _prepare(begin, bundle)
    for place, (command, earlier) in enumerate(COMMANDS.items()):
        before, after = folder / f"before-{place}", folder / f"after-{place}"
        shutil.copytree(begin, before)
        for each in earlier:
            _must(each, before)
        shutil.copytree(before, after)
        calls = calls_of(command, after)
        trials = [(call, fault) for call in calls for fault in faults]
        random.Random(f"{seed}/{command}").shuffle(trials)
        share = len(trials) if count is None else -(-count // len(COMMANDS))
        say(f"{command}: {len(calls)} calls, {share} trials")
        for number in range(share):
            call, fault = trials[number % len(trials)]
            copy = folder / "trial"
            shutil.copytree(before, copy)
            try:
                kind = _try(call, fault, command, copy, before, after)
            except DamageError as damage:
                kind = "damage"
                say(f"{command}: {fault} at {call.text}: {damage}")
            found[kind, command.split()[0]] += 1
            shutil.rmtree(copy)
    return found


def _prepare(folder: Path, bundle: Path) -> None:
    """Make a folder with a state that was taught twice and corrected, pictures and an inbox."""
    folder.mkdir()
    shutil.copy(bundle, folder / "pets.pte")
    lessons = {
        "a": ("red", "green"),
        "b": ("blue", "red"),
        "c": ("grey",),
        "d": ("pink",),
        "f": ("black",),
    }
    for lesson, labels in (lessons | {"inbox/waiting/e": ("white",)}).items():
        for label in labels:
            (folder / lesson / label).mkdir(parents=True)
            for number, pixels in enumerate(toy_pictures(label, 3, ord(lesson[-1]))):
                Image.fromarray(pixels).save(folder / lesson / label / f"{number}.png")
    _must("learn pets.pte --images a --keep 2 --seed 0", folder)
    _must("learn pets.pte --images c --seed 0", folder)
    _must("rename pets.pte green leaf", folder)


def _must(command: str, folder: Path) -> None:
    result = run(command, folder)
    if result.returncode:
        raise DamageError(f"`{command}` ended with {result.returncode}: {result.stderr}")


def _try(call: Call, fault: str, command: str, folder: Path, before: Path, after: Path) -> str:
    """Return how a command ended, and raise `DamageError` if that, or what it left, is wrong."""
    result = run_with(call, fault, command, folder)
    killed = "KILL" in fault
    if "Traceback" in result.stderr:
        raise DamageError(f"a traceback: {result.stderr[-600:]}")
    if not killed and result.returncode not in (0, 1):
        raise DamageError(f"exit status {result.returncode}: {result.stderr[-600:]}")
    old, new = _content(before), _content(after)
    found = _content(folder)
    if found not in (old, new):
        raise DamageError("the state is neither the old nor the new one")
    if not killed and result.returncode == 0 and found != new:
        raise DamageError("exit status 0, and the state is the old one")
    kind = "old" if found == old else "new"
    if kind == "old":
        _must(command, folder)
        if _content(folder) != new:
            raise DamageError("repeated, it does not give the new state")
    label = _read(folder)[1].class_names[0]
    _must(f"rename pets.pte {label} {label}-2", folder)  # which clears what a killed one left
    left = {path.name for path in folder.iterdir()} - {path.name for path in after.iterdir()}
    litter = {name for name in left if not name.endswith(".kept.zip") and name != f"{STATE}.1"}
    if litter:
        raise DamageError(f"left lying about: {sorted(litter)}")
    return f"{kind} state"


def _content(folder: Path) -> tuple[Any, ...]:
    """Return all that a state and its kept pictures hold, but what each lesson has alone."""
    state, info, journal = _read(folder)
    progress = json.loads(json.dumps(info.progress))
    for event in progress["journal"]["events"]:
        event |= {"id": "", "time": 0}
    inbox = bool(progress.pop("inbox", ""))
    del progress["generation"]  # what is forgotten for good is saved twice, so that `.1` has it not
    kept = folder / f"{STATE}.{progress['kept']['sha256'][:16]}.kept.zip"
    tensors = {name: value.tobytes() for name, value in {**state, **journal}.items()}
    return tensors, dataclasses.replace(info, progress=progress), inbox, kept.read_bytes()


def _read(folder: Path) -> tuple[Any, Any, Any]:
    return load_with_journal(folder / STATE)
