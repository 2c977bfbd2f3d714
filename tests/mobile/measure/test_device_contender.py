"""What an application learns with takes part in the protocol and is tested as by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ArrayImages
from cbpnet.data.stream import TaskStream, make_stream
from cbpnet.run.protocol import ProtocolRecord, run_protocol
from cbpnet.run.training import TrainingConfig
from mobile.device.bundle import read_manifest
from mobile.device.runtime import OnDeviceLearner
from mobile.measure.device_contender import DeviceContender


@pytest.fixture
def stream() -> TaskStream:
    """Two tasks of two classes: seven noisy pictures of a colour each to learn, two to test."""
    random = np.random.default_rng(3)
    colours = random.integers(60, 196, (4, 1, 1, 3))

    def images(count: int) -> ArrayImages:
        labels = np.arange(4).repeat(count)
        noise = random.integers(-60, 60, (len(labels), 8, 8, 3))
        return ArrayImages((colours[labels] + noise).astype(np.uint8), labels)

    return make_stream(Dataset("colours", ("a", "b", "c", "d"), images(7), images(2), 2), 2)


def test_pictures_are_asked_for_as_small_as_will_do(
    bundle: Path, stream: TaskStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times the size that the bundle resizes to, as where `learn` reads files."""
    asked = set()
    image = ArrayImages.image

    def remember(self: ArrayImages, index: int, least: int | None = None) -> Image.Image:
        asked.add(least)
        return image(self, index, least)

    monkeypatch.setattr(ArrayImages, "image", remember)
    contender = DeviceContender("it", OnDeviceLearner(bundle), stream, TrainingConfig(1, 3), 5)
    contender.learn(stream.tasks[0])
    contender.classify(stream.tasks[0])
    preprocessing = read_manifest(bundle).preprocessing
    assert asked == {3 * int(preprocessing.image_size / preprocessing.crop_pct)}


def test_the_protocol_is_that_of_calls_in_a_loop(bundle: Path, stream: TaskStream) -> None:
    device, counts = OnDeviceLearner(bundle), []
    training = TrainingConfig(epochs=2, batch_size=3)
    contender = DeviceContender("it", device, stream, training, seed=5)
    outcomes = list(run_protocol(contender, stream, counts.append))
    result = ProtocolRecord(tuple(outcomes)).result("it", stream, seed=5)

    plain, images = OnDeviceLearner(bundle), 0
    for task in stream.tasks:
        shown = {
            stream.class_names[label]: [
                stream.train_source.image(int(index))
                for index, own in zip(task.train, task.train_labels, strict=True)
                if own == label
            ]
            for label in task.classes
        }
        plain.learn(shown, 2, 3, seed=5)
        images += 3 * len(task.train)
        for known in stream.tasks[: task.index + 1]:
            right = selected = 0
            for index, label in zip(known.test, known.test_labels, strict=True):
                (found,) = plain.predict(stream.test_source.image(int(index)))
                right += found.label == stream.class_names[label]
                selected += found.task == known.index + 1
                images += 1
            assert result.matrix[task.index, known.index] == right / len(known.test)
            tested = outcomes[task.index].tested[known.index]
            assert tested.selection == pytest.approx(selected / len(known.test))
    assert sum(counts) == images
    assert contender.finished == 2


def test_it_goes_on_after_the_tasks_that_the_bundle_knows(bundle: Path, stream: TaskStream) -> None:
    device, training = OnDeviceLearner(bundle), TrainingConfig(epochs=1)
    first = DeviceContender("it", device, stream, training, seed=0)
    first.learn(stream.tasks[0])
    again = DeviceContender("it", device, stream, training, seed=0)
    outcomes = list(run_protocol(again, stream, first=0))
    assert [outcome.train_seconds is None for outcome in outcomes] == [True, False]
    assert device.known_tasks == 2


def test_a_one_pass_bundle_says_what_its_lessons_took(
    one_pass_bundle: Path, stream: TaskStream
) -> None:
    device = OnDeviceLearner(one_pass_bundle)
    contender = DeviceContender("it", device, stream, TrainingConfig(2, 3, 3), seed=5)
    outcomes = tuple(run_protocol(contender, stream))
    result = ProtocolRecord(outcomes).result("it", stream, seed=5)
    decisions = [outcome.learnt.decision for outcome in outcomes]
    assert decisions[0].reason == "first"
    assert outcomes[0].learnt.forwards == 14 * (1 + 3 * 2 + 1)
    assert result.lessons_adapted == sum(decision.adapts for decision in decisions)
    assert (result.predicting_forwards, result.prompt_selection) == (1, None)
    assert contender.finished == 2
