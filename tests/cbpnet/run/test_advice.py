"""What is said of a lesson: on pictures of toy classes, against what was made wrong with them."""

import numpy as np
import pytest

pytest.importorskip("torch")

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.advice import Advice, Recall, advise_on_features, advise_on_pictures, recall
from cbpnet.run.counting import choose, count
from cbpnet.run.journal import Edit, Journal, Taught
from cbpnet.run.remembered import LessonRows, Remembered, as_counted

DIM, CLASSES = 12, 6


@pytest.fixture
def one_pass_learner(toy_extractor):
    settings = LearnerConfig(
        PromptConfig((), 2, (), 1),
        readout=ReadoutConfig("whitened"),
        adaptation=AdaptationConfig("never"),
        features=("pooled",),
    )
    return EagerOnePass(OnePassLearner(toy_extractor(DIM), settings, CLASSES))


def taught(names, labels, keys, size=4):
    labels = np.array(labels, np.int32)
    counts = tuple(np.bincount(labels, minlength=len(names)).tolist())
    x = np.zeros((len(labels), size), np.float16)
    return Taught("id", 0, "", names, counts, "never", None, labels, keys, x, {}, {}, ())


@pytest.fixture
def journal(one_pass_learner):
    state = one_pass_learner.initial_state(RandomStream(1, 0))
    keys = np.array([1, 2, 3], np.uint64)
    return Journal(state, ()).followed_by(taught(("cat", "dog"), [0, 0, 1], keys))


def advise(journal, labels, keys, known=None):
    return advise_on_pictures(labels, np.array(keys, np.uint64), journal, known or {"cat": 2})


def test_one_picture_under_two_labels(journal):
    assert advise(journal, ["a", "a", "b", "b"], [10, 11, 11, 12]) == [
        Advice("two labels", "a", "b", 1, 2)
    ]


def test_a_picture_that_was_taught_before_under_its_name_of_today(journal):
    assert advise(journal, ["cat", "cat"], [1, 9]) == [Advice("taught before", "cat", "cat", 1, 2)]
    renamed = journal.followed_by(Edit("rename", 0, "dog", "hound"))
    assert advise(renamed, ["cat"], [3]) == [Advice("taught before", "cat", "hound", 1, 1)]
    forgotten = journal.followed_by(Edit("forget", 0, "dog"))
    assert advise(forgotten, ["cat"], [3]) == []


def test_a_class_of_few_beside_one_of_many(journal):
    labels = ["leopard"] * 30 + ["wolf"] * 3
    assert advise(journal, labels, range(100, 133)) == [Advice("rare", "wolf", "leopard", 3, 30)]
    assert advise(journal, labels, range(100, 133), {"wolf": 1}) == []
    assert advise(journal, ["wolf"], [100], {"cat": 10}) == [Advice("rare", "wolf", "cat", 1, 10)]


@pytest.fixture
def known(one_pass_learner):
    """Return a state that knows two classes around far centres, and a function that draws them."""
    learner = one_pass_learner
    state = learner.initial_state(RandomStream(1, 0))
    width = state["classes.mean"].shape[1]
    generator = np.random.default_rng(0)
    centres = 4 * generator.standard_normal((3, width)).astype(np.float32)

    def draw(label, images, spread=1.0):
        noise = generator.standard_normal((images, width)).astype(np.float32)
        return (centres[label] + spread * noise).astype(np.float16).astype(np.float32)

    x = np.concatenate([draw(0, 30), draw(1, 30)])
    labels = np.repeat([0, 1], 30)
    state = count(learner, state, x, labels)
    keys = np.arange(60, dtype=np.uint64)
    rows = LessonRows(as_counted(x), labels, keys)
    state = choose(learner, state, Remembered.nothing(state).joined(rows))
    state, _ = learner.solve(state, state["readout.prior"], state["readout.scale"])
    return learner, state, draw, x, labels


def test_pictures_that_are_nearly_alike_and_classes_that_are_known(known):
    learner, state, draw, *_ = known
    x = np.concatenate([draw(0, 8), draw(2, 8), draw(2, 1) + draw(2, 8, 0.01) - draw(2, 1, 0)])
    labels = ["feline"] * 8 + ["other"] * 8 + ["burst"] * 8
    found = advise_on_features(learner, state, ("cat", "dog"), x, labels)
    said = {(one.kind, one.label, one.other) for one in found}
    assert said == {("like known", "feline", "cat"), ("alike", "burst", "")}
    assert all(one.of == 8 for one in found)
    again = advise_on_features(learner, state, ("cat", "dog"), draw(0, 8), ["cat"] * 8)
    assert not [one for one in again if one.kind == "like known"]
    assert advise_on_features(learner, state, (), draw(0, 8), ["cat"] * 8) == []


def test_what_a_class_is_taken_for_without_each_image(known):
    learner, state, draw, x, labels = known
    assert recall(learner, state, ("cat", "dog"), x, labels) == [
        Recall("cat", 30, 30, None),
        Recall("dog", 30, 30, None),
    ]
    wrong = draw(1, 3)  # as cats
    state = count(learner, state, wrong, np.zeros(3, np.int64))
    state, _ = learner.solve(state, state["readout.prior"], state["readout.scale"])
    (found,) = recall(learner, state, ("cat", "dog"), wrong, np.zeros(3, np.int64))
    assert found.right < 3
    assert (found.images, found.confused) == (3, "dog")
