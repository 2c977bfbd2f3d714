"""The test of a bundle with a state: what is counted, and how it goes on after an interruption."""

import errno
import json
import os
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.prediction import Prediction
from mobile.device.runtime import OnDeviceLearner
from mobile.measure.accuracy import ClassAccuracy, Confusion, TestImages, measure_accuracy

IDENTITY = {"bundle": "b", "state": "s"}


class Oracle:
    """A learner that takes every image for the word it is, whatever its label."""

    class_names = ("cat", "dog")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def predict(self, images: list[str]) -> list[Prediction]:
        self.asked += images
        return [Prediction(((image, 0.9),), None) for image in images]


def test_images(labels: str, taken_for: str) -> TestImages:
    words = {"c": "cat", "d": "dog", "x": "fox"}
    answers = [words[letter] for letter in taken_for]
    names = [f"{number}.png" for number in range(len(labels))]
    return TestImages(
        [words[letter] for letter in labels],
        names,
        answers.__getitem__,
        lambda number: answers[number].encode(),
    )


test_images.__test__ = False  # type: ignore[attr-defined]


def measure(oracle: Oracle, test: TestImages, path: Path, progress=lambda images: None):
    return measure_accuracy(oracle, test, "zoo", None, IDENTITY, path, progress)  # type: ignore[arg-type]


def test_what_is_counted(tmp_path: Path) -> None:
    done: list[int] = []
    found = measure(Oracle(), test_images("ccxdddd", "cdxcdcd"), tmp_path / "a.jsonl", done.append)
    assert found.classes == (ClassAccuracy("cat", 2, 1), ClassAccuracy("dog", 4, 2))
    assert found.confusions == (Confusion("dog", "cat", 2), Confusion("cat", "dog", 1))
    assert found.left_out == ("fox",)
    assert (found.images, found.share, found.known_classes) == (6, 0.5, 2)
    assert sum(done) == 6
    assert found.images_per_second is not None


@pytest.mark.parametrize("torn", ["", '{"image": "33.p'])
def test_an_interrupted_test_goes_on(tmp_path: Path, torn: str) -> None:
    labels, answers = "cd" * 40, "cc" * 40
    path = tmp_path / "answers.jsonl"

    class Interrupted(Oracle):
        def predict(self, images: list[str]) -> list[Prediction]:
            if len(self.asked) == 32:
                raise KeyboardInterrupt
            return super().predict(images)

    with pytest.raises(KeyboardInterrupt):
        measure(Interrupted(), test_images(labels, answers), path)
    with path.open("a") as file:
        file.write(torn)
    oracle, done = Oracle(), list[int]()
    found = measure(oracle, test_images(labels, answers), path, done.append)
    assert len(oracle.asked) == 80 - 32
    assert done[0] == 32
    assert sum(done) == 80
    assert (found.images, found.share) == (80, 0.5)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["image"] for row in rows[1:]] == [f"{number}.png" for number in range(80)]

    again = Oracle()
    whole = measure(again, test_images(labels, answers), path)
    assert again.asked == []
    assert whole.images_per_second is None
    assert whole.classes == found.classes


def test_answers_of_another_test_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    measure(Oracle(), test_images("cd", "cd"), path)
    with pytest.raises(InputError, match="of another test, which differs in images; name another"):
        measure(Oracle(), test_images("cc", "cd"), path)
    path.write_text("{\n")
    with pytest.raises(InputError, match="is damaged"):
        measure(Oracle(), test_images("cd", "cd"), path)


def test_images_of_unknown_classes_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="zoo has no image of a known class: it has fox, and cat, "
    ):
        measure(Oracle(), test_images("xx", "xx"), tmp_path / "answers.jsonl")


def test_a_full_disk_is_one_sentence_and_what_was_written_stands(tmp_path, monkeypatch) -> None:
    test, path, flushed = test_images("cd" * 40, "cd" * 40), tmp_path / "answers.jsonl", list[int]()

    def full(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = "cannot write .*answers.jsonl: No space left on device; make room"
        with pytest.raises(InputError, match=message):
            measure(Oracle(), test, path)
    oracle = Oracle()
    assert measure(oracle, test, path).share == 1
    assert len(oracle.asked) <= 80 - 32


def test_a_real_learner(bundle: Path, pictures, tmp_path: Path) -> None:
    learner = OnDeviceLearner(bundle)
    few = {label: pictures(label, 6) for label in ("red", "green")}
    learner.learn({label: images[:4] for label, images in few.items()})
    images = [image for label in few for image in few[label][4:]]
    labels = [label for label in few for _ in range(2)]
    test = TestImages(
        labels, ["a", "b", "c", "d"], images.__getitem__, lambda number: images[number].tobytes()
    )
    found = measure_accuracy(
        learner, test, "colours", Path("x"), IDENTITY, tmp_path / "a", lambda images: None
    )
    right = [
        found.label == label for found, label in zip(learner.predict(images), labels, strict=True)
    ]
    assert found.share == sum(right) / 4
    assert found.state == "x"


def test_answers_are_of_pictures_and_not_of_names(bundle, write_classes, tmp_path: Path) -> None:
    learner, path = OnDeviceLearner(bundle), tmp_path / "answers.jsonl"
    folder = write_classes(tmp_path / "photos", "red", "green")
    classes = {label: sorted((folder / label).iterdir()) for label in ("red", "green")}
    learner.learn(classes, epochs=1)

    def answered_before() -> bool:
        test = TestImages.of_folders(classes)
        found = measure_accuracy(
            learner, test, "colours", None, IDENTITY, path, lambda images: None
        )
        return found.images_per_second is None

    assert not answered_before()
    assert answered_before()
    moved = folder.rename(tmp_path / "moved")
    classes = {label: [moved / label / path.name for path in classes[label]] for label in classes}
    assert answered_before()
    classes["red"][1].write_bytes(classes["green"][1].read_bytes())
    with pytest.raises(InputError, match="is of another test, which differs in images"):
        answered_before()
