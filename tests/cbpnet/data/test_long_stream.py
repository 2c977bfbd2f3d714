"""Long streams over small data sets whose labels and sizes are known."""

from collections import Counter

import numpy as np
import pytest

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ArrayImages
from cbpnet.data.long_stream import LongStream, fingerprint_long_stream, make_long_stream
from cbpnet.host.errors import InputError


def _source(title: str, counts: list[int]) -> ArrayImages:
    """`counts[label]` images of each label, in mixed order."""
    labels = np.random.default_rng(7).permutation(np.repeat(np.arange(len(counts)), counts))
    return ArrayImages(np.zeros((len(labels), 2, 2), np.uint8), labels, title)


def _dataset(name: str, train: list[int], test: list[int]) -> Dataset:
    classes = tuple("abcdefghij"[: len(train)])
    return Dataset(name, classes, _source(f"{name} train", train), _source(name, test), 2)


MANY, FEW = _dataset("many", [40] * 10, [6] * 10), _dataset("few", [12] * 4, [6, 6, 6, 2])


def _stream(datasets: tuple[Dataset, ...] = (MANY, FEW), lessons: int = 12, **more) -> LongStream:
    chosen = {"classes": (2, 4), "train_per_class": 4, "test_per_class": 3, "seed": 1} | more
    return make_long_stream(datasets, lessons, **chosen)


def test_lessons_come_from_the_data_sets_in_turns_with_images_of_their_classes() -> None:
    stream = _stream(lessons=6)
    assert [lesson.dataset for lesson in stream.lessons] == ["many", "few"] * 3
    for lesson in stream.lessons:
        dataset = {"many": MANY, "few": FEW}[lesson.dataset]
        assert 2 <= len(lesson.classes) <= 4
        assert Counter(lesson.train.labels.tolist()) == dict.fromkeys(lesson.classes, 4)
        for index, label in zip(lesson.train.indices, lesson.train.labels, strict=True):
            name = dataset.class_names[dataset.train.labels[index]]
            assert stream.class_names[label] == f"{lesson.dataset}/{name}"


def test_classes_count_up_as_they_are_first_met() -> None:
    met: list[int] = []
    for lesson in _stream(lessons=10).lessons:
        met += [label for label in lesson.classes if label not in met]
    assert met == list(range(len(met)))


def test_no_image_is_met_twice_and_classes_come_again_once_all_have_been_met() -> None:
    stream = _stream((MANY,), lessons=25)
    indices = np.concatenate([lesson.train.indices for lesson in stream.lessons])
    assert len(set(indices.tolist())) == len(indices)
    times: Counter[int] = Counter()
    for lesson in stream.lessons:
        times.update(lesson.classes)
        # The one class that is left of a round, if there is one, is left out of it.
        assert max(times.values()) - min(times[label] for label in range(10)) <= 3
    assert min(times.values()) >= 2
    assert len({lesson.classes for lesson in stream.lessons[:3]}) == 3


def test_a_data_set_whose_images_are_used_up_leaves_and_the_others_go_on() -> None:
    stream = _stream(lessons=20)
    few = [place for place, one in enumerate(stream.lessons, 1) if one.dataset == "few"]
    images = sum(len(stream.lessons[place - 1].train.indices) for place in few)
    assert images <= 4 * 12
    assert few == list(range(2, 2 * len(few) + 1, 2))
    assert stream.notes == (
        f"few leaves the stream after lesson {few[-1]}: its training images are used up",
    )
    assert _stream(lessons=4).notes == ()


def test_tests_are_of_every_class_of_the_stream_and_of_no_other() -> None:
    stream = _stream(lessons=4)
    found: set[int] = set()
    for name, pictures in stream.tests.items():
        dataset = {"many": MANY, "few": FEW}[name]
        for label, times in Counter(pictures.labels.tolist()).items():
            letter = stream.class_names[label].removeprefix(f"{name}/")
            assert times == (2 if (name, letter) == ("few", "d") else 3)
            places = pictures.of_classes([label]).indices
            labels = dataset.test.labels[places]
            assert (labels == dataset.class_names.index(letter)).all()
            found.add(label)
    assert found == set(range(len(stream.class_names)))
    assert found == {label for lesson in stream.lessons for label in lesson.classes}


def test_a_seed_draws_the_same_stream_again_and_another_one_another() -> None:
    first, again, other = (_stream(seed=seed) for seed in (1, 1, 2))
    assert fingerprint_long_stream(first) == fingerprint_long_stream(again)
    assert fingerprint_long_stream(first) != fingerprint_long_stream(other)
    assert fingerprint_long_stream(first) != fingerprint_long_stream(_stream(test_per_class=2))
    shorter = _stream(lessons=5)
    for one, same in zip(shorter.lessons, first.lessons, strict=False):
        assert one.train.indices.tolist() == same.train.indices.tolist()


@pytest.mark.parametrize(
    ("datasets", "more", "reason"),
    [
        ((MANY,), {"lessons": 0}, "lessons is 0; right would be 1 or more"),
        ((MANY,), {"train_per_class": 0}, "training images per class is 0"),
        ((MANY,), {"test_per_class": -1}, "test images per class is -1"),
        ((MANY,), {"classes": (1, 4)}, "classes a lesson are 1 to 4; right would be from 2"),
        ((MANY,), {"classes": (4, 3)}, "classes a lesson are 4 to 3"),
        ((FEW, FEW), {}, "2 data sets are called 'few'"),
        ((FEW,), {"lessons": 9}, r"the data sets give \d lessons with 4 training images a class"),
        ((FEW,), {"train_per_class": 13}, "few has 0 classes of 13 training images; .* 2 or more"),
        ((_dataset("x", [9] * 3, [1, 0, 1]),), {"lessons": 2}, r"class x/b has no test image"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    datasets: tuple[Dataset, ...], more: dict[str, object], reason: str
) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        _stream(datasets, **more)
