"""How long a device takes to correct what it knows: a learner's own operations, timed."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.adapted_features import FIRST, AdaptedFeatures
from benchmarks.replay import draw_keys, lesson_of, rows_of
from cbpnet.run.fold import fold
from mobile.device.lessons import Knowledge
from mobile.device.runtime import OnDeviceLearner
from mobile.device.saved import NEVER, save_knowledge

__all__ = ["measure_times"]

_EACH = 10  # images of each of the ten classes of a lesson
_LESSONS = 5  # beside the first one, of 500 images: a journal of 1,000
_ROUNDS = 7


def measure_times(bundle: Path, data: AdaptedFeatures, out: Path) -> dict[str, float]:
    """Return the median seconds of operations on a journal of 1,000 pictures, and the load.

    The two states that are merged have their first lesson in common.
    """
    states = [_save(data, out / f"journal-{number}.safetensors", number) for number in range(2)]
    learner = OnDeviceLearner(bundle, states[0])
    name = data.class_names[FIRST]
    operations: dict[str, Callable[[], object]] = {
        "forget": lambda: learner.forget(name),
        "undo the forgetting": learner.undo,
        "undo a lesson": learner.undo,
        "redo a lesson": learner.redo,
        "merge": lambda: OnDeviceLearner(bundle).merge_states(states),
    }
    times: dict[str, list[float]] = {title: [] for title in operations}
    for _ in range(_ROUNDS):
        for title, operation in operations.items():
            start = time.perf_counter()
            operation()
            times[title].append(time.perf_counter() - start)
    found = {title: statistics.median(seconds) for title, seconds in times.items()}
    return found | {"load": os.getloadavg()[0]}


def _save(data: AdaptedFeatures, path: Path, number: int) -> Path:
    """Write a state with five lessons after the first; those of no two numbers are the same."""
    keys, journal = draw_keys(data, 0), data.journal
    for lesson in range(_LESSONS):
        classes = range(FIRST * (lesson + 1), FIRST * (lesson + 2))
        own = slice(number * _EACH, (number + 1) * _EACH)
        rows = np.concatenate([rows_of(data.labels, [label])[own] for label in classes])
        names = [data.class_names[label] for label in data.labels[rows].tolist()]
        time_of = 1 + lesson + number * _LESSONS
        journal = journal.followed_by(lesson_of(data, rows, names, keys, time_of))
    known = fold(data.learner, journal)
    knowledge = Knowledge(known.state, known.class_names, journal.lessons, journal=journal)
    save_knowledge(path, knowledge, data.learner.program.manifest, NEVER)
    return path
