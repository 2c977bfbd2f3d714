"""Task streams over small data sets whose labels and sizes are known."""

import numpy as np
import pytest

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ArrayImages
from cbpnet.data.stream import TaskStream, make_stream
from cbpnet.host.errors import InputError


def _source(counts: list[int]) -> ArrayImages:
    """`counts[label]` images of each label, in mixed order."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(7).permutation(labels)
    return ArrayImages(np.zeros((len(labels), 2, 2), np.uint8), labels)


def _dataset(train: list[int], test: list[int]) -> Dataset:
    names = tuple("abcdefghij"[: len(train)])
    return Dataset("letters", names, _source(train), _source(test), classes_per_task=2)


def _by_class(stream: TaskStream, part: str) -> dict[str, list[int]]:
    """The indices of each class, after a check that each has that class's data set label."""
    source = {"train": stream.train_source, "test": stream.test_source}[part]
    indices: dict[str, list[int]] = {name: [] for name in stream.class_names}
    for task in stream.tasks:
        for index, label in zip(getattr(task, part), getattr(task, f"{part}_labels"), strict=True):
            assert label in task.classes
            assert source.labels[index] == stream.class_order[label]
            indices[stream.class_names[label]].append(int(index))
    return indices


LETTERS = _dataset([30] * 5, [10] * 5)


def test_tasks_divide_the_classes_and_the_last_may_be_smaller() -> None:
    stream = make_stream(LETTERS, 2)
    assert [task.index for task in stream.tasks] == [0, 1, 2]
    assert [list(task.classes) for task in stream.tasks] == [[0, 1], [2, 3], [4]]
    assert stream.notes == ("the last task has 1 of 2 classes",)
    assert make_stream(LETTERS, 5).notes == ()


def test_tasks_of_explicit_sizes() -> None:
    stream = make_stream(LETTERS, [3, 1, 1], class_order=[4, 2, 0, 1, 3])
    assert [list(task.classes) for task in stream.tasks] == [[0, 1, 2], [3], [4]]
    assert stream.notes == ()
    even = make_stream(LETTERS, (2, 2, 1), 7, seed=3)
    assert _by_class(even, "train") == _by_class(make_stream(LETTERS, 2, 7, seed=3), "train")


def test_every_image_is_met_once_with_its_own_label() -> None:
    stream = make_stream(LETTERS, 2)
    assert stream.train_source is LETTERS.train
    assert stream.test_source is LETTERS.test
    for part, source in (("train", LETTERS.train), ("test", LETTERS.test)):
        for label, indices in enumerate(_by_class(stream, part).values()):
            assert sorted(indices) == np.flatnonzero(source.labels == label).tolist()


def test_labels_are_stream_labels_in_any_order() -> None:
    stream = make_stream(LETTERS, 2, class_order=[4, 2, 0, 1, 3])
    assert stream.class_names == ("e", "c", "a", "b", "d")
    assert np.unique(stream.tasks[0].train_labels).tolist() == [0, 1]
    assert np.unique(stream.tasks[2].test_labels).tolist() == [4]
    assert {len(indices) for indices in _by_class(stream, "train").values()} == {30}


def test_classes_may_be_left_out() -> None:
    stream = make_stream(LETTERS, 2, class_order=[3, 1])
    assert stream.class_names == ("d", "b")
    assert len(stream.tasks) == 1


def test_a_random_order_is_drawn_from_the_seed() -> None:
    dataset = _dataset([2] * 10, [2] * 10)
    orders = [make_stream(dataset, 2, seed=seed, class_order="random") for seed in (0, 0, 1)]
    assert orders[0].class_order == orders[1].class_order
    assert orders[0].class_order != orders[2].class_order
    assert sorted(orders[0].class_order) == list(range(10))
    assert make_stream(dataset, 2, seed=5).class_order == tuple(range(10))


def test_fewer_images_are_among_the_more() -> None:
    few, many = (_by_class(make_stream(LETTERS, 2, n, n), "train") for n in (5, 9))
    for name in LETTERS.class_names:
        assert len(few[name]) == 5
        assert few[name] == many[name][:5]


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_draws_the_same_images_whatever_the_others_are(part: str) -> None:
    alone, all_of_them = (
        _by_class(make_stream(LETTERS, 1, 5, 5, seed=2, class_order=order), part)
        for order in ([3], "natural")
    )
    assert alone["d"] == all_of_them["d"]


@pytest.mark.parametrize("part", ["train", "test"])
def test_another_seed_draws_others(part: str) -> None:
    first, again, other = (
        _by_class(make_stream(LETTERS, 2, 5, 5, seed=seed), part) for seed in (0, 0, 1)
    )
    assert first == again
    assert all(first[name] != other[name] for name in LETTERS.class_names)


def test_classes_do_not_draw_the_same_positions() -> None:
    positions = []
    for label, indices in enumerate(_by_class(make_stream(LETTERS, 2, 8), "train").values()):
        members = np.flatnonzero(LETTERS.train.labels == label)
        positions.append(tuple(np.searchsorted(members, indices)))
    assert len(set(positions)) == 5


def test_a_class_with_too_few_images_gives_what_it_has() -> None:
    stream = make_stream(_dataset([30, 4, 7], [10, 10, 3]), 3, 6, 5)
    assert [len(indices) for indices in _by_class(stream, "train").values()] == [6, 4, 6]
    assert [len(indices) for indices in _by_class(stream, "test").values()] == [5, 5, 3]
    assert stream.notes == (
        "1 of 3 classes have fewer training images than the 6 asked for: b (4)",
        "1 of 3 classes have fewer test images than the 5 asked for: c (3)",
    )


def test_a_class_without_test_images_is_named() -> None:
    stream = make_stream(_dataset([5, 5], [0, 3]), 1)
    assert len(stream.tasks[0].test) == 0
    assert stream.notes == ("1 of 2 classes have no test image: a (0)",)


@pytest.mark.parametrize(
    ("train", "test", "expected"), [(20, 10, (20, 10)), (None, 7, (23, 7)), (12, None, (12, 18))]
)
def test_validation_takes_other_training_images(
    train: int | None, test: int | None, expected: tuple[int, int]
) -> None:
    stream = make_stream(LETTERS, 2, train, test, holdout="validation")
    assert stream.train_source is LETTERS.train
    assert stream.test_source is LETTERS.train
    training, validation = _by_class(stream, "train"), _by_class(stream, "test")
    for name in LETTERS.class_names:
        assert (len(training[name]), len(validation[name])) == expected
        assert not set(training[name]) & set(validation[name])


def test_validation_images_do_not_depend_on_how_many_are_trained_on() -> None:
    few, many = (
        _by_class(make_stream(LETTERS, 2, count, 7, holdout="validation"), "test")
        for count in (5, 12)
    )
    assert few == many
    assert {len(indices) for indices in few.values()} == {7}


def test_validation_trains_on_the_same_images_as_the_test_stream() -> None:
    with_test = _by_class(make_stream(LETTERS, 2, 8, 5), "train")
    assert _by_class(make_stream(LETTERS, 2, 8, 5, holdout="validation"), "train") == with_test


@pytest.mark.parametrize(("train", "test"), [(20, 11), (None, 30), (30, None), (1, 40)])
def test_an_overlap_of_validation_and_training_is_refused(
    train: int | None, test: int | None
) -> None:
    with pytest.raises(InputError, match="class 'a' has 30 training images, too few"):
        make_stream(LETTERS, 2, train, test, holdout="validation")


def test_a_validation_stream_needs_a_number() -> None:
    with pytest.raises(InputError, match="neither training nor test images"):
        make_stream(LETTERS, 2, holdout="validation")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes_per_task": 0}, "classes per task is 0; right would be from 1 to .* 5 classes"),
        ({"classes_per_task": 6}, "classes per task is 6"),
        ({"class_order": [1, 2], "classes_per_task": 3}, "stream's 2 classes"),
        ({"classes_per_task": [2, 2]}, r"classes per task are \[2, 2\]; right would be .* sum 5"),
        ({"classes_per_task": [5, 0]}, r"are \[5, 0\]; right would be numbers of at least 1"),
        ({"classes_per_task": []}, r"are \[\]"),
        ({"train_per_class": 0}, "training images per class is 0"),
        ({"test_per_class": -1}, "test images per class is -1"),
        ({"seed": -3}, "seed is -3"),
        ({"class_order": "alphabetical"}, "'alphabetical'"),
        ({"class_order": [0, 1, 1]}, r"\[0, 1, 1\]; .*from 0 to 4"),
        ({"class_order": [0, 5]}, r"\[0, 5\]"),
        ({"class_order": []}, r"\[\]"),
        ({"holdout": "valid"}, "'valid'"),
    ],
)
def test_bad_input_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_stream(LETTERS, **({"classes_per_task": 2} | options))
