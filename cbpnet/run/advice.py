"""What seems wrong with a lesson, said before it is learnt; and what it was good for, said after.

Pictures are compared by their keys, and by features: those of different pictures of one thing
have a cosine of 0.5 to 0.96 in most classes of photographs, and frames of one scene more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cbpnet.host.arrays import Array
from cbpnet.method.learner_interface import OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.run.counting import leave_one_out, metric_of
from cbpnet.run.journal import Journal, resolve

__all__ = ["Advice", "AdviceKind", "Recall", "advise_on_features", "advise_on_pictures", "recall"]

AdviceKind = Literal["two labels", "taught before", "rare", "alike", "like known"]

_RARE = 10  # times fewer images than another class
_ALIKE = 0.98  # cosine to the nearest other image of the class, of half of them
_FEWEST_ALIKE = 4
_LIKE_KNOWN = 0.5  # of a new class's images


@dataclass(frozen=True)
class Advice:
    """Something to look at: so many ``images``, ``of`` so many, of the class ``label``.

    "two labels" are pictures that stand under ``other`` too; "taught before" are those that an
    earlier lesson has taught, as ``other``; "rare" is a class beside one, ``other``, ``of`` whose
    images there are many more; "alike" are pictures of which each is nearly the same as another
    one; "like known" are those that are taken for the known class ``other``.
    """

    kind: AdviceKind
    label: str
    other: str
    images: int
    of: int


@dataclass(frozen=True)
class Recall:
    """How a class's images are classified, each by what is known without it.

    ``right`` of ``images`` are right; None of a single image. ``confused`` is the other class that
    they are most like, where some are wrong.
    """

    label: str
    right: int | None
    images: int
    confused: str | None


def advise_on_pictures(
    labels: Sequence[str], keys: npt.NDArray[np.uint64], journal: Journal, known: Mapping[str, int]
) -> list[Advice]:
    """Return what can be said before any image is looked at.

    Args:
        labels: the class of each image.
        keys: `cbpnet.run.remembered.picture_keys` of the images.
        journal: of earlier lessons.
        known: how many images each known class was learnt from.
    """
    counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
    own = list(zip(labels, keys.tolist(), strict=True))
    places: dict[int, dict[str, None]] = {}
    for label, key in own:
        places.setdefault(key, {})[label] = None
    taught = {
        key: name
        for one in resolve(journal)[1]
        for key, name in zip(one.lesson.pictures[one.numbers].tolist(), one.names, strict=True)
    }
    pairs: dict[tuple[AdviceKind, str, str], int] = {}
    for label, key in own:
        for other in places[key]:
            if label < other:
                pair: tuple[AdviceKind, str, str] = ("two labels", label, other)
                pairs[pair] = pairs.get(pair, 0) + 1
        if key in taught:
            pair = ("taught before", label, taught[key])
            pairs[pair] = pairs.get(pair, 0) + 1
    found = [Advice(*pair, images, counts[pair[1]]) for pair, images in pairs.items()]
    total = dict(known)
    for label, images in counts.items():
        total[label] = total.get(label, 0) + images
    most = max(total, key=lambda name: total[name])
    found += [
        Advice("rare", label, most, total[label], total[most])
        for label in counts
        if _RARE * total[label] <= total[most]
    ]
    return found


def advise_on_features(
    learner: OnePassInterface,
    state: HostState,
    names: Sequence[str],
    x: Array,
    labels: Sequence[str],
) -> list[Advice]:
    """Return what the features x [N, F] of a lesson's images say.

    ``state`` knows the classes ``names``, and none of the images; ``labels`` are theirs.
    """
    found = []
    taken, unknown = None, None
    if names:
        _, probabilities, scores = learner.predict(state, x)
        taken = probabilities[:, : len(names)].argmax(axis=1)
        unknown = scores > state["unknown.threshold"]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=np.finfo(np.float32).tiny)
    for label in dict.fromkeys(labels):
        rows = np.array([row for row, other in enumerate(labels) if other == label])
        if len(rows) >= _FEWEST_ALIKE:
            cosine = unit[rows] @ unit[rows].T
            np.fill_diagonal(cosine, -1)
            alike = int((cosine.max(axis=1) > _ALIKE).sum())
            if 2 * alike >= len(rows):
                found.append(Advice("alike", label, "", alike, len(rows)))
        if taken is not None and unknown is not None and label not in names:
            votes = np.bincount(taken[rows][~unknown[rows]], minlength=len(names))
            if votes.max() >= _LIKE_KNOWN * len(rows):
                other = names[int(votes.argmax())]
                found.append(Advice("like known", label, other, int(votes.max()), len(rows)))
    return found


def recall(
    learner: OnePassInterface, state: HostState, names: Sequence[str], x: Array, labels: Array
) -> list[Recall]:
    """Return how counted images x [N, F] of the classes ``labels`` [N] are classified, by class.

    ``state`` is solved, and knows the classes ``names``.
    """
    metric = metric_of(learner, state, state["readout.prior"].item())
    members = (state["classes.count"] > 0).astype(np.float32)
    classes = np.unique(labels).tolist()
    sums = {
        label: leave_one_out(
            learner, state, metric, x[labels == label], labels[labels == label], members
        )
        for label in classes
    }
    found = []
    for label in classes:
        rows = labels == label
        right, images = int(sums[label]["right"].item()), int(sums[label]["count"].item())
        confused = None
        if right < images:
            _, probabilities, _ = learner.predict(state, x[rows])
            others = probabilities[:, : len(names)].mean(axis=0)
            others[label] = -1
            confused = names[int(others.argmax())]
        found.append(Recall(names[label], right if images else None, int(rows.sum()), confused))
    return found
