"""What corrections, merging and answering "unknown" come to on real data; lessons from features."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.adapted_features import FIRST, AdaptedFeatures, adapted_features, features_of
from benchmarks.correction_times import measure_times
from benchmarks.replay import (
    area_under_roc,
    calibration_error,
    differences,
    draw_keys,
    learn,
    lesson_of,
    rows_of,
    teach,
)
from cbpnet.data.catalogue import load_dataset
from cbpnet.data.dataset import Dataset
from cbpnet.data.sampling import generator
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run import corrections
from cbpnet.run.counting import forgotten
from cbpnet.run.fold import Folded, fold, remember
from cbpnet.run.journal import Event, Journal, Taught
from cbpnet.run.merging import Part, merge_journals
from cbpnet.run.remembered import LessonRows, Remembered, as_counted
from mobile.device.images import ImageLike
from mobile.device.runtime import OnDeviceLearner
from mobile.device.saved import load_knowledge

__all__ = [
    "measure_adapting",
    "measure_calibration",
    "measure_corrections",
    "measure_forget_and_undo",
    "measure_merge",
    "measure_modes",
    "measure_rare",
    "measure_relabel",
    "measure_unknown",
]

# Classes of CIFAR-100 that are taken for each other; none is among its first ten.
PAIRS = (
    ("rose", "tulip"),
    ("leopard", "wolf"),
    ("maple_tree", "oak_tree"),
    ("otter", "seal"),
    ("orange", "pear"),
    ("bus", "streetcar"),
    ("hamster", "mouse"),
    ("lion", "tiger"),
    ("bowl", "plate"),
    ("boy", "man"),
)
_MISTAUGHT = 15
_MANY, _DRAWS = 30, 5  # images of the frequent class; choices of the rare one's image
_DEVICES = 5
_IMAGES = 50, 20  # of each class, to compare the journal's modes


def measure_corrections(
    bundle: Path, cifar100: Path, clothes: Path, signs: Path, seeds: Sequence[int], out: Path
) -> dict[str, Any]:
    """Measure everything with a bundle on three data sets; features are kept in ``out``."""
    data = adapted_features(bundle, load_dataset("cifar100", cifar100), out)
    others = load_dataset("folder", clothes).test
    state, kept = out / "cifar100.safetensors", out / "cifar100.clothes.npy"
    worn = features_of(data.learner, state, others, np.arange(len(others)), kept)
    road_signs = load_dataset("folder", signs)
    roads = adapted_features(bundle, road_signs, out)
    return {
        "relabel": measure_relabel(data),
        "forget and undo": measure_forget_and_undo(data),
        "unknown": [measure_unknown(data, {"clothes": worn}, seed) for seed in seeds],
        "calibration": {
            "cifar100": [measure_calibration(data, seed) for seed in seeds],
            "signs": [measure_calibration(roads, seed) for seed in seeds],
        },
        "merge": [measure_merge(data, seed) for seed in seeds],
        "rare": measure_rare(data),
        "modes": [[measure_modes(data, seed, images) for seed in seeds] for images in _IMAGES],
        "adapting lesson": measure_adapting(bundle, road_signs, state),
        "times": measure_times(bundle, data, out),
    }


def measure_relabel(data: AdaptedFeatures) -> list[dict[str, Any]]:
    """Measure each pair: 15 pictures of one class taught as the other, and then relabelled.

    Both classes had 15 right ones before, beside the first ten classes. Accuracies are those of the
    mistaught class's test images and of both classes'.
    """
    keys, learner, found = draw_keys(data, 0), data.learner, []
    for name, other in PAIRS:
        one, two = (rows_of(data.labels, [data.class_names.index(n)]) for n in (name, other))
        rows = np.concatenate([one[:_MISTAUGHT], two[:_MISTAUGHT]])
        names = [name] * _MISTAUGHT + [other] * _MISTAUGHT
        both = data.journal.followed_by(lesson_of(data, rows, names, keys, 1))
        more = one[_MISTAUGHT : 2 * _MISTAUGHT]
        right, wrong = (
            both.followed_by(lesson_of(data, more, [said] * _MISTAUGHT, keys, 2))
            for said in (name, other)
        )
        mended = corrections.relabel(wrong, keys[more].tolist(), name, 3)
        known = {"right": right, "wrong": wrong, "relabelled": mended}
        folded = {title: fold(learner, journal) for title, journal in known.items()}
        found.append(
            {"mistaught": name, "as": other}
            | {title: _recall(data, one, (name, other)) for title, one in folded.items()}
            | {
                "difference": differences(
                    learner, folded["right"], folded["relabelled"], data.test_x
                )
            }
        )
    return found


def measure_forget_and_undo(data: AdaptedFeatures) -> dict[str, Any]:
    """Measure a learner of all classes in lessons of ten.

    The classes of each lesson but the first are forgotten, and compared with a learner that was
    never taught them. Lessons are undone, the last first: of the state that was there before each
    had been learnt so many tensors are not equal bit by bit.
    """
    keys, learner = draw_keys(data, 0), data.learner
    journals, states = [data.journal], [data.state]
    for number, classes in enumerate(_tasks(range(len(data.class_names)))[1:], 1):
        rows = rows_of(data.labels, classes)
        lesson = LessonRows(as_counted(data.x[rows]), data.labels[rows], keys[rows])
        known = remember(learner, journals[-1])
        states.append(learn(learner, states[-1], known, lesson))
        journals.append(teach(journals[-1], data, classes, keys, number))
    undone, journal = [], journals[-1]
    for before in reversed([data.journal.base, *states[:-1]]):
        journal = journal.undone()
        undone.append(_unequal(before, fold(learner, journal).state))
    forgets = []
    taught = [event for event in journals[-1].events[1:] if isinstance(event, Taught)]
    for place, one in enumerate(taught, 1):
        never = _followed(data.journal, [other for other in taught if other is not one])
        less = journals[-1]
        for name in one.names:
            less = corrections.forget(less, data.class_names, name, place)
        forgets.append(differences(learner, fold(learner, never), fold(learner, less), data.test_x))
    return {"undo": undone, "forget": forgets}


def measure_unknown(data: AdaptedFeatures, others: dict[str, Array], seed: int) -> dict[str, float]:
    """Measure answers where half of the classes are known, the first ten and others by ``seed``.

    ``others`` are features of images of other data sets.
    """
    order, keys = _order(data, seed), draw_keys(data, seed)
    half, learner = len(order) // 2, data.learner
    known = _taught(data, order[:half], keys)
    threshold = float(known.state["unknown.threshold"][0])
    is_known = np.isin(data.test_labels, order[:half])
    scores = {"known": data.test_x[is_known], "other classes": data.test_x[~is_known]} | others
    unknown = {name: learner.predict(known.state, x)[2] for name, x in scores.items()}
    found = {f"answered: {n}": float((u <= threshold).mean()) for n, u in unknown.items()}
    inside = unknown.pop("known")
    return found | {f"AUROC: {n}": area_under_roc(inside, u) for n, u in unknown.items()}


def measure_calibration(data: AdaptedFeatures, seed: int) -> dict[str, float]:
    """Measure the probabilities where all classes are known."""
    known = _taught(data, _order(data, seed), draw_keys(data, seed))
    places = [known.class_names.index(name) for name in data.class_names]
    _, probabilities, _ = data.learner.predict(known.state, data.test_x)
    found = probabilities[:, places]
    return {
        "accuracy": float((found.argmax(axis=1) == data.test_labels).mean()),
        "calibration error": calibration_error(found, data.test_labels),
        "scale": float(known.state["readout.scale"][0]),
    }


def measure_merge(data: AdaptedFeatures, seed: int) -> dict[str, float]:
    """Measure five devices' states merged against one device that saw every lesson.

    After the first lesson there are 20 more, of five random classes and ten pictures of each, so
    that devices teach the same classes, with other pictures and the same. Each device has four; the
    even ones have two of their neighbour's as well, which merging counts once. All is compared in
    six orders, each against one device that was taught in a random order.
    """
    keys, learner, draw = draw_keys(data, seed), data.learner, generator(seed, "devices")
    lessons = []
    for number in range(4 * _DEVICES):
        classes = draw.choice(np.arange(FIRST, len(data.class_names)), 5, replace=False)
        rows = np.concatenate(
            [draw.choice(rows_of(data.labels, [label]), 10, replace=False) for label in classes]
        )
        names = [data.class_names[label] for label in data.labels[rows].tolist()]
        lessons.append(lesson_of(data, rows, names, keys, number + 1))
    parts = []
    for device in range(_DEVICES):
        own = [*range(4 * device, 4 * device + 4)]
        if device % 2 == 0:
            own += [(4 * device + 4 + more) % len(lessons) for more in range(2)]
        parts.append(Part(str(device), _followed(data.journal, [lessons[n] for n in own]), {}))
    most: dict[str, float] = {}
    orders = list(permutations(parts))
    for place in draw.choice(len(orders), 6, replace=False).tolist():
        merged = fold(learner, merge_journals(orders[place]).journal)
        alone = [lessons[number] for number in draw.permutation(len(lessons))]
        everything = fold(learner, _followed(data.journal, alone))
        found = differences(learner, everything, merged, data.test_x)
        most = {name: max(value, most.get(name, 0.0)) for name, value in found.items()}
    return most


def measure_rare(data: AdaptedFeatures) -> list[dict[str, Any]]:
    """Measure each pair both ways: 30 pictures of one class and 1 of the other, and 30 of each.

    The rare picture is drawn five times. The pair is all that is known, or known beside the first
    ten classes.
    """
    keys, found = draw_keys(data, 0), []
    draw = generator(0, "rare")
    first = data.state, remember(data.learner, data.journal)
    nothing = forgotten(data.state)
    begun = {"alone": (nothing, Remembered.nothing(nothing)), "beside ten": first}
    for pair in PAIRS:
        for name, other in (pair, pair[::-1]):
            few, many = (rows_of(data.labels, [data.class_names.index(n)]) for n in (name, other))
            singles = draw.choice(few, _DRAWS, replace=False)
            row: dict[str, Any] = {"rare": name, "beside": other}
            for title, start in begun.items():
                even = _recall_of_two(data, *start, few[:_MANY], many[:_MANY], keys)
                rare = [
                    _recall_of_two(data, *start, few[few == single], many[:_MANY], keys)
                    for single in singles
                ]
                row[title] = {
                    "30 and 30": even,
                    "1 and 30": tuple(map(fmean, zip(*rare, strict=True))),
                }
            found.append(row)
    return found


def measure_modes(data: AdaptedFeatures, seed: int, images: int) -> dict[str, float]:
    """Measure the final accuracy of lessons of ten, by who chooses the readout and by rounding.

    With a journal a sample of 200 pictures does, without one every picture once, in its lesson.
    ``seed`` draws so many images of each class. How many answers are others than with a journal in
    fp16 tells the modes apart where their accuracies do not.
    """
    order, keys, draw = _order(data, seed), draw_keys(data, seed), generator(seed, "images")
    drawn = [draw.permutation(rows_of(data.labels, [c]))[:images] for c in range(len(order))]
    found: dict[str, float] = {}
    first: Array | None = None
    for rounding, x in (("fp16", as_counted(data.x)), ("fp32", data.x)):
        for mode in ("journal", "no journal"):
            state = forgotten(data.state)
            remembered = Remembered.nothing(state)
            for classes in _tasks(order):
                rows = np.concatenate([drawn[label] for label in classes])
                lesson = LessonRows(x[rows], data.labels[rows], keys[rows])
                if mode == "no journal":
                    remembered = Remembered.nothing(state)
                state = learn(data.learner, state, remembered, lesson)
                remembered = remembered.joined(lesson)
            answers = data.learner.predict(state, data.test_x)[0].argmax(axis=1)
            first = answers if first is None else first
            title = f"{images} images, {mode}, {rounding}"
            found[title] = float((answers == data.test_labels).mean())
            found[f"{title}: other answers"] = float((answers != first).mean())
    return found


def measure_adapting(bundle: Path, signs: Dataset, state: Path) -> list[int]:
    """Measure a lesson of ten signs that adapts what ten classes of CIFAR-100 left.

    Returned are how many of the state's tensors are not equal bit by bit once it is undone, and
    once it is redone.
    """
    learner = OnDeviceLearner(bundle, state)
    images: dict[str, list[ImageLike]] = {}
    for label, name in enumerate(signs.class_names[:FIRST]):
        rows = rows_of(signs.train.labels, [label])[:FIRST]
        images[name] = [signs.train.image(row) for row in rows.tolist()]
    (lesson,) = learner.learn(images, seed=0)
    if lesson.decision is None or not lesson.decision.adapts:
        raise InputError("the lesson of signs did not adapt the features; name other --signs")
    manifest, found = learner.manifest, []
    learnt = state.with_name("adapted-twice.safetensors")
    learner.save(learnt)
    for change, wanted in ((learner.undo, state), (learner.redo, learnt)):
        change()
        again = state.with_name("changed.safetensors")
        learner.save(again)
        one, two = (load_knowledge(path, manifest, False)[0].state for path in (wanted, again))
        found.append(_unequal(one, two))
    return found


def _tasks(classes: Sequence[int]) -> list[Sequence[int]]:
    return [classes[start : start + FIRST] for start in range(0, len(classes), FIRST)]


def _unequal(one: HostState, two: HostState) -> int:
    """Return how many tensors of two states are not equal bit by bit."""
    return sum(not np.array_equal(value, two[name]) for name, value in one.items())


def _order(data: AdaptedFeatures, seed: int) -> list[int]:
    """Return the first ten classes, and the others in a random order."""
    others = generator(seed, "class order").permutation(range(FIRST, len(data.class_names)))
    return [*range(FIRST), *others.tolist()]


def _taught(data: AdaptedFeatures, classes: Sequence[int], keys: Array) -> Folded:
    """Return what is known of classes that were taught in lessons of ten, the first ones first."""
    journal = data.journal
    for number, few in enumerate(_tasks(classes)[1:], 1):
        journal = teach(journal, data, few, keys, number)
    return fold(data.learner, journal)


def _followed(journal: Journal, lessons: Sequence[Event]) -> Journal:
    for lesson in lessons:
        journal = journal.followed_by(lesson)
    return journal


def _recall(data: AdaptedFeatures, known: Folded, names: Sequence[str]) -> list[float]:
    """Return the share of each class's test images that are right, among all known classes."""
    found = []
    for name in names:
        rows = rows_of(data.test_labels, [data.class_names.index(name)])
        scores, *_ = data.learner.predict(known.state, data.test_x[rows])
        found.append(float((scores.argmax(axis=1) == known.class_names.index(name)).mean()))
    return found


def _recall_of_two(
    data: AdaptedFeatures,
    state: HostState,
    remembered: Remembered,
    one: Array,
    two: Array,
    keys: Array,
) -> list[float]:
    """Return the recall of two new classes taught from the rows ``one`` and ``two``."""
    known = state.known_classes
    rows, labels = np.concatenate([one, two]), np.repeat([known, known + 1], [len(one), len(two)])
    lesson = LessonRows(as_counted(data.x[rows]), labels, keys[rows])
    after = learn(data.learner, state, remembered, lesson)
    names = tuple(data.class_names[:known])
    names += tuple(data.class_names[data.labels[few[0]]] for few in (one, two))
    return _recall(data, Folded(after, names), names[known:])
