"""The gradient learner as a contender: queries once an image, accuracy a plain count."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch

from cbpnet.backbone.presets import get_preset
from cbpnet.backbone.vit import load_backbone
from cbpnet.data.digits import load_digits
from cbpnet.data.pixels import load_batch
from cbpnet.data.stream import make_stream
from cbpnet.method.eager import EagerLearner
from cbpnet.method.learner import Learner
from cbpnet.method.tensors import as_tensors
from cbpnet.run.contender import LearnerContender
from cbpnet.run.protocol import run_protocol
from cbpnet.run.queries import query_stream
from cbpnet.run.training import TrainingConfig

CONFIG = get_preset("micro").config("cbpnet")
READOUTS = {"network": "none", "fused": "rls", "again": "rls"}
TRAINING = TrainingConfig(epochs=2, batch_size=10, micro_batch=10)


class CountingBackbone:
    """Counts the images that pass without and with prompts."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.inner = load_backbone("vit_micro_patch8_32", pretrained=False)
        self.dim = self.inner.dim
        self.plain = self.prompted = 0

    def __call__(self, images, prefixes=None):
        if prefixes:
            self.prompted += len(images)
        else:
            self.plain += len(images)
        return self.inner(images, prefixes)


@pytest.fixture
def stream():
    return make_stream(load_digits(), 5, 6, 4, 0)


def contender_on(stream, backbone, with_queries=True, config=CONFIG):
    learner = EagerLearner(Learner(backbone, config, 10, 2))
    prep = backbone.inner.preprocessing
    queries = query_stream(learner, stream, prep, lambda images: None) if with_queries else None
    return LearnerContender(learner, stream, prep, TRAINING, 0, READOUTS, queries)


def test_the_frozen_pass_runs_once_an_image_and_accuracy_is_a_plain_count(stream) -> None:
    backbone = CountingBackbone()
    contender = contender_on(stream, backbone)
    counts = []
    promised = contender.images_to_come()
    outcomes, states = [], []
    for outcome in run_protocol(contender, stream, counts.append):
        outcomes.append(outcome)
        states.append(contender.state)
    assert backbone.plain == 10 * (6 + 4)
    assert backbone.prompted == 2 * 60 + 20 + 40  # epochs, then the tests after each task
    assert sum(counts) == promised == backbone.prompted

    # Brute force: one image at a time, by hand, with the state after each task.
    learner, prep = Learner(backbone, CONFIG, 10, 2), contender.preprocessing
    for name, kind in READOUTS.items():
        for after, state in enumerate(states):
            for task in stream.tasks[: after + 1]:
                right = 0
                for index, label in zip(task.test, task.test_labels, strict=True):
                    pixels = torch.from_numpy(load_batch(stream.test_source, [int(index)], prep))
                    image = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
                    with torch.no_grad():
                        query = learner.query(image)
                        scores, _ = learner.predict(as_tensors(state), image, query, kind)
                    right += int(scores.argmax()) == label
                found = outcomes[after].tested[task.index]
                assert found.accuracy[name] == pytest.approx(right / len(task.test))


def test_queries_that_were_computed_before_change_nothing(stream) -> None:
    runs = []
    for given in (True, False):
        backbone = CountingBackbone()
        contender = contender_on(stream, backbone, with_queries=given)
        runs.append([outcome.tested for outcome in run_protocol(contender, stream)])
        assert backbone.plain == 10 * (6 + 4)
    assert runs[0] == runs[1]


def test_a_learner_without_prompts_selects_none(stream) -> None:
    config = replace(CONFIG, prompts=replace(CONFIG.prompts, e_layers=()))
    contender = contender_on(stream, CountingBackbone(), config=config)
    contender.learn(stream.tasks[0])
    assert contender.classify(stream.tasks[0]).selection is None
