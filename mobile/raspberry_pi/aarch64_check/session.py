"""A learning session that a power cut may interrupt: a course's lessons, and what is said then.

Imports what a device has, and no more. A session that was killed and is run again goes on from the
last lesson that it saved.
"""

import argparse
import json
import math
import os
import signal
from pathlib import Path

from cbpnet.host.arrays import Array
from cbpnet.host.atomic import write_atomically
from cbpnet.method.learner_interface import GradientSums
from cbpnet.method.state import HostState
from cbpnet.run.training import Progress
from mobile.device.program_steps import ProgramSteps
from mobile.device.runtime import OnDeviceLearner

__all__ = ["ANSWERS", "KILLED_LESSON", "LESSONS", "STATE", "flip_sign", "run_session"]

LESSONS = "lessons.json"  # of a course
STATE, ANSWERS = "state.safetensors", "answers.json"
KILLED_LESSON = 2  # counted from 0: one that adapts, with some to go on from and one left to learn


def run_session(course: Path, out: Path, killed: bool = False) -> None:
    """Learn the lessons that the state lacks, save it after each, and classify all pictures.

    Args:
        course: folder that android_demo/conformance/write_vectors.py wrote: a bundle, pictures and
            `LESSONS`.
        out: folder for the files `STATE` and `ANSWERS`, made where missing.
        killed: end the process with SIGKILL in the middle of a lesson.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = json.loads((course / LESSONS).read_text(encoding="utf-8"))
    state = out / STATE
    learner = OnDeviceLearner(course / "bundle.pte", state if state.exists() else None)
    for lesson in content["lessons"][learner.lessons :]:
        images = {
            label: [course / file for file in files] for label, files in lesson["pictures"].items()
        }
        looks = 1 + content["epochs"] if lesson["steps"] else 1
        half = sum(map(len, images.values())) * looks // 2
        killing = killed and learner.lessons == KILLED_LESSON
        learner.learn(
            images,
            content["epochs"],
            content["batch_size"],
            task=lesson["joined_task"],
            progress=_kill_after(half if killing else math.inf),
        )
        learner.save(state)
    pictures = [answer["picture"] for answer in content["lessons"][-1]["predictions"]]
    found = learner.predict([course / picture for picture in pictures])
    answers = {picture: dict(one.ranking) for picture, one in zip(pictures, found, strict=True)}
    write_atomically(out / ANSWERS, json.dumps(answers, indent=1).encode())


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


def _main() -> None:
    parser = argparse.ArgumentParser(description="Run a session with a course.")
    parser.add_argument("course", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--killed", action="store_true", help="in the middle of a lesson")
    parser.add_argument("--flip-sign", metavar="TENSOR", help="of the gradient")
    options = parser.parse_args()
    if options.flip_sign:
        flip_sign(options.flip_sign)
    run_session(options.course, options.out, options.killed)


if __name__ == "__main__":
    _main()
