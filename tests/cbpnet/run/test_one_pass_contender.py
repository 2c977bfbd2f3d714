"""The one-pass learner as a contender: readouts from one run, honest counts, kept pictures."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import cbpnet.run.one_pass_contender
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.stream import make_stream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import run_protocol
from cbpnet.run.training import LessonImages, TrainingConfig

DIM, SIDE = 12, 8
PREPROCESSING = Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear", 1.0)
TRAINING = TrainingConfig(epochs=2, batch_size=4, micro_batch=4, final_rate=0.1)
READOUTS = {"white": "whitened", "near": "means", "ridge": "rls"}


class Counting(EagerOnePass):
    """Counts the images of forward passes."""

    forward = 0

    def features(self, state, images):
        self.forward += len(images)
        return super().features(state, images)


def config(kind="always", readout="whitened"):
    return LearnerConfig(
        PromptConfig(() if kind == "never" else (0, 2), 2, (), 1),
        readout=ReadoutConfig(readout, regularisation=1.0),
        adaptation=AdaptationConfig(kind, fewest_classes=2),
    )


@pytest.fixture
def stream(picture_dataset):
    """Three tasks of two, two and one classes; seven images a class to learn, four to test."""
    return make_stream(picture_dataset(size=SIDE), 2)


@pytest.fixture
def contend(toy_extractor, stream):
    def build(kind="always", readout="whitened", keep=0):
        learner = Counting(OnePassLearner(toy_extractor(DIM), config(kind, readout), 5))
        return OnePassContender(learner, stream, PREPROCESSING, TRAINING, 3, READOUTS, keep)

    return build


@pytest.mark.parametrize("own", READOUTS.values())
def test_every_readout_is_that_of_a_run_of_its_own(contend, own):
    """The learner's own kind changes nothing: all are solved from the same statistics."""
    several, alone = contend(), contend(readout=own)
    for ours, theirs in zip(
        run_protocol(several, several.stream), run_protocol(alone, alone.stream), strict=True
    ):
        assert ours.tested == theirs.tested


def test_accuracy_is_a_plain_count_one_image_at_a_time(contend):
    contender = contend()
    name = "white"
    for outcome in run_protocol(contender, contender.stream):
        for task in contender.stream.tasks[: outcome.task + 1]:
            right = 0
            for index, label in zip(task.test, task.test_labels, strict=True):
                pixels = load_batch(contender.stream.test_source, [int(index)], PREPROCESSING)
                image = normalise(pixels, PREPROCESSING.mean, PREPROCESSING.std)
                x = contender.learner.features(contender.state, image)
                scores, *_ = contender.learner.predict(contender.state, x)
                right += int(scores.argmax()) == label
            assert outcome.tested[task.index].accuracy[name] == right / len(task.test)


@pytest.mark.parametrize("keep", [0, 2, 50])
@pytest.mark.parametrize(
    ("kind", "adapted"), [("always", 2), ("first", 1), ("auto", None), ("never", 0)]
)
def test_the_images_to_come_are_those_that_come_or_a_bound(contend, kind, adapted, keep):
    contender, counts = contend(kind, keep=keep), []
    promised = contender.images_to_come()
    outcomes = list(run_protocol(contender, contender.stream, counts.append))
    assert sum(counts) == promised if kind != "auto" else sum(counts) <= promised
    if adapted is not None:  # by hand: the last lesson has one class and adapts nothing
        kept = 2 * 2 * min(keep, 7) if adapted == 2 else 0  # before and after, of two old classes
        assert promised == 35 + adapted * 14 * (2 + 1) + kept + 8 * 3 + 8 * 2 + 4
        assert contender.state["lessons.adapted"] == adapted
    assert contender.images_to_come() == 0
    assert [one.learnt.decision is not None for one in outcomes] == [True] * 3


def test_test_images_pass_once_unless_the_features_changed(contend):
    never, always = contend("never"), contend("always")
    for contender in (never, always):
        for task in contender.stream.tasks[:2]:
            contender.learn(task)
            contender.learner.forward = 0
            for known in contender.stream.tasks[: task.index + 1]:
                contender.classify(known)
                contender.classify(known)
            assert contender.learner.forward == 8 * (1 + task.index * (contender is always))


def test_a_lesson_s_forwards_are_counted_as_its_steps_and_passes(contend):
    contender = contend("always", keep=2)
    first, second, last = (contender.learn(task).forwards for task in contender.stream.tasks)
    assert first == 14 * (1 + 3 * TRAINING.epochs + 1)
    assert second == first + 2 * 2 * 2  # two pictures of each old class, before and after
    assert last == 7


def test_the_kept_pictures_are_the_first_of_each_old_class(contend, monkeypatch):
    shown = []

    def remember(*arguments):
        shown.append(arguments[6])
        return learn_lesson(*arguments)

    monkeypatch.setattr(cbpnet.run.one_pass_contender, "learn_lesson", remember)
    contender = contend(keep=3)
    for task in contender.stream.tasks:
        contender.learn(task)
    assert shown[0] is None
    source = contender.stream.train_source
    for kept, classes in ((shown[1], 2), (shown[2], 4)):
        assert kept.labels.tolist() == np.arange(classes).repeat(3).tolist()
        for label in range(classes):
            task = contender.stream.tasks[label // 2]
            first = task.train[task.train_labels == label][:3]
            pixels = load_batch(source, first.tolist(), PREPROCESSING)
            assert np.array_equal(kept.pixels[kept.labels == label], pixels)


def test_an_interrupted_lesson_changes_nothing(contend):
    contender = contend()
    contender.learn(contender.stream.tasks[0])
    before = contender.state

    def interrupt(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contender.learn(contender.stream.tasks[1], interrupt)
    assert contender.state is before
    assert contender.finished == 1


def test_it_learns_as_the_lessons_in_a_loop(contend, toy_extractor):
    contender = contend("always")
    learner = EagerOnePass(OnePassLearner(toy_extractor(DIM), config("always"), 5))
    state = contender.state
    for task in contender.stream.tasks:
        contender.learn(task)
        pixels = load_batch(contender.stream.train_source, task.train.tolist(), PREPROCESSING)
        images = LessonImages(pixels, task.train_labels)
        state = learn_lesson(learner, state, images, PREPROCESSING, TRAINING, 3).state
    for name, value in state.items():
        assert np.array_equal(contender.state[name], value), name
    assert replace(contender.training) == TRAINING
