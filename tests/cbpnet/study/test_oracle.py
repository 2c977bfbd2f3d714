"""The oracle: after each adaptation it knows what counting everything anew would tell."""

import numpy as np
import pytest

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.stream import make_stream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import run_protocol
from cbpnet.run.training import TrainingConfig
from cbpnet.study.oracle import OracleContender

DIM, SIDE = 12, 8
PREPROCESSING = Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear", 1.0)
TRAINING = TrainingConfig(epochs=2, batch_size=4, micro_batch=4)
CONFIG = LearnerConfig(
    PromptConfig((0, 2), 2, (), 1),
    readout=ReadoutConfig("whitened"),
    adaptation=AdaptationConfig("always"),
)


@pytest.fixture
def inner(toy_extractor, picture_dataset):
    stream = make_stream(picture_dataset(size=SIDE), 2)
    learner = EagerOnePass(OnePassLearner(toy_extractor(DIM), CONFIG, 5))
    return OnePassContender(learner, stream, PREPROCESSING, TRAINING, 0, {"it": "whitened"})


def test_its_statistics_are_those_of_all_images_by_the_last_prompt(inner):
    oracle = OracleContender(inner)
    for task in inner.stream.tasks[:2]:
        oracle.learn(task)
    images = [inner.images(task) for task in inner.stream.tasks[:2]]
    rows = [one.batch(np.arange(14), PREPROCESSING) for one in images]
    x = np.concatenate([inner.learner.features(inner.state, few) for few in rows])
    x = x.astype(np.float16).astype(float)  # as they are counted
    labels = np.concatenate([one.labels for one in images])
    scatter = np.zeros((DIM, DIM))
    for label in range(4):
        own = x[labels == label]
        mean = own.mean(axis=0)
        np.testing.assert_allclose(inner.state["classes.mean"][label], mean, rtol=1e-5, atol=1e-6)
        scatter += (own - mean).T @ (own - mean)
    np.testing.assert_allclose(inner.state["classes.scatter"], scatter, rtol=1e-4, atol=1e-3)
    assert inner.state["classes.count"].tolist() == [7, 7, 7, 7, 0]


def test_its_progress_and_forwards_count_the_images_anew(inner):
    oracle, counts = OracleContender(inner), []
    promised = oracle.images_to_come()
    outcomes = list(run_protocol(oracle, inner.stream, counts.append))
    assert sum(counts) == promised
    adapting = 14 * (1 + 3 * TRAINING.epochs + 1)
    # The last lesson has one class: nothing is adapted, and nothing counted anew.
    expected = [adapting + 14, adapting + 28, 7]
    assert [one.learnt.forwards for one in outcomes] == expected
    assert oracle.finished == 3


def test_an_interruption_while_counting_anew_loses_the_lesson(inner):
    oracle = OracleContender(inner)
    oracle.learn(inner.stream.tasks[0])
    before, seen = inner.state, 0

    def interrupt(images):
        nonlocal seen
        seen += images
        if seen > 14 * (1 + TRAINING.epochs + 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oracle.learn(inner.stream.tasks[1], interrupt)
    assert inner.state is before
    assert oracle.finished == 1
