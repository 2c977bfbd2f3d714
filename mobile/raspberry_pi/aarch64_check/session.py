"""A learning session, the same on an emulated Raspberry Pi and on the machine that it is held to.

Imports what a device has, and no more. A session that was killed and is run again goes on from the
last lesson that it saved.
"""

import argparse
import json
import math
import os
import signal
from pathlib import Path

from cbpnet.data.folder import read_class_folders
from cbpnet.host.arrays import Array
from cbpnet.host.atomic import write_atomically
from cbpnet.method.learner_interface import GradientSums
from cbpnet.method.state import HostState
from cbpnet.run.training import Progress
from mobile.device.program_steps import ProgramSteps
from mobile.device.runtime import OnDeviceLearner

__all__ = ["AFTER", "BEFORE", "STATE", "flip_sign", "run_session"]

STATE, BEFORE, AFTER = "state.safetensors", "before.json", "after.json"

_EPOCHS = 3
_KILLED_LESSON = 1  # counted from 0: one to go on from, and one left to learn


def run_session(bundle: Path, pictures: Path, out: Path, killed: bool = False) -> None:
    """Classify, learn the lessons that the state lacks and save it after each, and classify again.

    Args:
        bundle: the `.pte` file, which knows some classes.
        pictures: folder of `lessons/NUMBER/LABEL/*.png` and `test/LABEL/*.png`.
        out: folder for the files `STATE`, `BEFORE` and `AFTER`; made where missing.
        killed: end the process with SIGKILL in the middle of the second lesson.
    """
    out.mkdir(parents=True, exist_ok=True)
    if (out / AFTER).exists():
        return
    state = out / STATE
    learner = OnDeviceLearner(bundle, state if state.exists() else None)
    if not learner.lessons:
        _classify(learner, pictures / "test", out / BEFORE)
    for lesson in sorted((pictures / "lessons").iterdir())[learner.lessons :]:
        images, _ = read_class_folders(lesson, strict=True)
        half = sum(map(len, images.values())) * (1 + _EPOCHS) // 2
        killing = killed and learner.lessons == _KILLED_LESSON
        learner.learn(images, _EPOCHS, progress=_kill_after(half if killing else math.inf))
        learner.save(state)
    _classify(learner, pictures / "test", out / AFTER)


def flip_sign(name: str) -> None:
    """Plant a fault in this process: learn with the gradient of one tensor turned round."""
    update = ProgramSteps.update

    def flipped(
        self: ProgramSteps, state: HostState, sums: GradientSums, noise: Array, rate: Array
    ) -> HostState:
        return update(self, state, sums | {name: -sums[name]}, noise, rate)

    ProgramSteps.update = flipped  # type: ignore[method-assign]


def _kill_after(images: float) -> Progress:
    """Return a lesson's progress that ends the process when more images than these were seen."""
    left = images

    def progress(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def _classify(learner: OnDeviceLearner, folder: Path, out: Path) -> None:
    """Write what each picture is taken for: by its name, the classes' probabilities."""
    pictures = [path for few in read_class_folders(folder, strict=True)[0].values() for path in few]
    answers = {
        str(path.relative_to(folder)): dict(found.ranking)
        for path, found in zip(pictures, learner.predict(pictures), strict=True)
    }
    write_atomically(out, json.dumps(answers, indent=1).encode())


def _main() -> None:
    parser = argparse.ArgumentParser(description="Run a session with each of some bundles.")
    for name in ("pictures", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--killed", action="store_true", help="in the last session")
    parser.add_argument("--flip-sign", metavar="TENSOR", help="of the gradient")
    options = parser.parse_args()
    if options.flip_sign:
        flip_sign(options.flip_sign)
    for bundle in options.bundles:
        killed = options.killed and bundle == options.bundles[-1]
        run_session(bundle, options.pictures, options.out / bundle.stem, killed)


if __name__ == "__main__":
    _main()
