"""A bundle that ten classes have adapted, and the features that it then gives for whole data sets.

Features are computed once and kept in the results' folder: an experiment that teaches and corrects
them is seconds long, and learns what a device would that was shown the images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ImageSource
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.sampling import Indices
from cbpnet.data.stream import TaskStream, make_stream
from cbpnet.host.arrays import Array
from cbpnet.host.progress import progress_bar
from cbpnet.method.state import HostState
from cbpnet.run.journal import Journal
from cbpnet.run.training import IMAGES_AT_ONCE, portions
from mobile.device.images import ImageLike
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.runtime import OnDeviceLearner
from mobile.device.saved import load_knowledge

__all__ = ["FIRST", "AdaptedFeatures", "adapted_features", "features_of"]

FIRST = 10  # classes of the lesson that adapts
_TRAIN, _TEST = 50, 30  # images a class


@dataclass(frozen=True)
class AdaptedFeatures:
    """A data set by a learner that its first ten classes have adapted.

    ``state`` and ``journal`` are what their lesson left. ``x`` [N, F], not rounded, and ``labels``
    [N] are of the training images, ``test_x`` and ``test_labels`` of the test images.
    """

    learner: OnePassProgram
    state: HostState
    journal: Journal
    class_names: tuple[str, ...]
    x: Array
    labels: Array
    test_x: Array
    test_labels: Array


def adapted_features(bundle: Path, dataset: Dataset, out: Path) -> AdaptedFeatures:
    """Teach the first ten classes, and return the features of all; both are kept in ``out``."""
    stream = make_stream(dataset, FIRST, _TRAIN, _TEST)
    state = out / f"{dataset.name}.safetensors"
    if not state.exists():
        _teach_first(bundle, stream, state)
    learner = OnePassProgram(Program(bundle))
    known, _ = load_knowledge(state, learner.program.manifest, pictures=False)
    assert known.journal is not None  # of a one-pass bundle
    parts: dict[str, list[tuple[ImageSource, Indices, Array]]] = {
        "train": [(stream.train_source, task.train, task.train_labels) for task in stream.tasks],
        "test": [(stream.test_source, task.test, task.test_labels) for task in stream.tasks],
    }
    found: dict[str, Array] = {}
    for name, tasks in parts.items():
        indices, labels = (np.concatenate([task[place] for task in tasks]) for place in (1, 2))
        kept = out / f"{dataset.name}.{name}.npy"
        found[name] = features_of(learner, state, tasks[0][0], indices, kept)
        found[f"{name} labels"] = labels
    return AdaptedFeatures(
        learner,
        known.state,
        known.journal,
        stream.class_names,
        found["train"],
        found["train labels"],
        found["test"],
        found["test labels"],
    )


def features_of(
    learner: OnePassProgram, state: Path, source: ImageSource, indices: Indices, kept: Path
) -> Array:
    """Return the features [N, F] of some images by a state file, kept in a file."""
    if not kept.exists():
        preprocessing = learner.program.manifest.preprocessing
        known, _ = load_knowledge(state, learner.program.manifest, pictures=False)
        found = []
        with progress_bar(kept.stem, len(indices)) as bar:
            for few in portions(indices, IMAGES_AT_ONCE):
                pixels = load_batch(source, few.tolist(), preprocessing)
                images = normalise(pixels, preprocessing.mean, preprocessing.std)
                found.append(learner.features(known.state, images))
                bar.update(len(few))
        np.save(kept, np.concatenate(found))
    return np.asarray(np.load(kept))


def _teach_first(bundle: Path, stream: TaskStream, state: Path) -> None:
    task = stream.tasks[0]
    images: Mapping[str, list[ImageLike]] = {
        stream.class_names[number]: [
            stream.train_source.image(index)
            for index in task.train[task.train_labels == number].tolist()
        ]
        for number in task.classes
    }
    learner = OnDeviceLearner(bundle)
    with progress_bar(state.stem, len(task.train) * (learner.epochs + 2)) as bar:
        learner.learn(images, seed=0, progress=bar.update)
    learner.save(state)
