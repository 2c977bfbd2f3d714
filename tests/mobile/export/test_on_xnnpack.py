"""The device side on a small bundle of the real kind: int8, in XNNPACK, by the exporter."""

import threading

import numpy as np
import pytest

from cbpnet.data.pixels import normalise
from cbpnet.method.eager import EagerLearner
from cbpnet.method.learner import Learner
from cbpnet.run.state_file import load_state
from mobile.device.images import prepare_images
from mobile.device.runtime import OnDeviceLearner

LABELS = ("red", "green", "blue", "grey")


@pytest.fixture
def taught(int8_bundle, pictures):
    """Learn four colours in two tasks."""

    def teach():
        learner = OnDeviceLearner(int8_bundle)
        for task in (LABELS[:2], LABELS[2:]):
            learner.learn({label: pictures(label, 8) for label in task}, epochs=4)
        return learner

    return teach


def test_it_learns_four_colours(taught, pictures):
    learner = taught()
    found = {label: learner.predict(pictures(label, 5, seed=1)) for label in LABELS}
    right = sum(image.label == label for label, images in found.items() for image in images)
    assert right >= 18


def test_what_it_learnt_serves_the_learner_in_pytorch(taught, small_backbone, pictures, tmp_path):
    """The state of the int8 bundle, in fp32 and without ExecuTorch, ranks the pictures alike."""
    learner = taught()
    learner.save(tmp_path / "state")
    state, info = load_state(tmp_path / "state")
    assert info.weights == small_backbone.weights_fingerprint
    eager = EagerLearner(Learner(small_backbone, info.config, info.classes, info.tasks))
    shown = [picture for label in LABELS for picture in pictures(label, 5, seed=1)]
    pixels = prepare_images(shown, info.preprocessing)
    images = normalise(pixels, info.preprocessing.mean, info.preprocessing.std)
    scores, _ = eager.predict(state, images, eager.query(images))
    expected = [info.class_names[number] for number in scores.argmax(axis=1)]
    found = [image.label for image in learner.predict(shown)]
    assert sum(a == b for a, b in zip(found, expected, strict=True)) >= 19


def test_learners_in_several_threads_learn_what_each_learns_alone(taught, pictures):
    """They share the delegate's threads and its workspace."""
    shown = pictures("red", 4, seed=2)
    alone = taught()
    together = []
    threads = [threading.Thread(target=lambda: together.append(taught())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 3
    for learner in together:
        assert learner.predict(shown) == alone.predict(shown)
        for name, value in alone._knowledge.state.items():
            assert np.array_equal(learner._knowledge.state[name], value), name


def test_predictions_while_it_learns_are_those_from_before_or_after(taught, pictures):
    learner, shown = taught(), pictures("white", 2)
    before, answers, done = learner.predict(shown), [], threading.Event()

    def predict():
        while not done.is_set():
            answers.append(learner.predict(shown))

    thread = threading.Thread(target=predict)
    thread.start()
    learner.learn({"white": pictures("white", 6)}, epochs=6)
    done.set()
    thread.join()
    after = learner.predict(shown)
    assert len(answers) > 2
    assert before != after
    assert all(answer in (before, after) for answer in answers)
