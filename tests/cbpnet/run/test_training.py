"""The training loop: queries once an image, micro-batches, and what it refuses."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from cbpnet.backbone.presets import check_budget, count_trainables, get_preset
from cbpnet.backbone.vit import load_backbone
from cbpnet.data.digits import load_digits
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.stream import make_stream
from cbpnet.host.errors import InputError
from cbpnet.method.eager import EagerLearner
from cbpnet.method.learner import Learner
from cbpnet.run.queries import query_stream
from cbpnet.run.training import TaskImages, TrainingConfig, initial_state, learn_task


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


def _images(stream, learner, prep):
    task = stream.tasks[0]
    pixels = load_batch(stream.train_source, task.train.tolist(), prep)
    query = query_stream(learner, stream, prep, lambda images: None).train[0]
    return TaskImages(pixels, task.train_labels, query)


@pytest.mark.parametrize("flip", [False, True])
def test_micro_batches_bound_memory_and_change_nothing_else(stream, flip: bool) -> None:
    backbone = CountingBackbone()
    prep = backbone.inner.preprocessing
    learner = EagerLearner(Learner(backbone, get_preset("micro").config("cbpnet"), 10, 2))
    images = _images(stream, learner, prep)
    ends = []
    for micro in (8, 1):
        training = TrainingConfig(epochs=1, batch_size=8, micro_batch=micro, flip=flip)
        start = initial_state(learner, 5)
        ends.append(learn_task(learner, start, 0, images, prep, training, 5))
    for name, value in ends[0].items():
        # Adam divides by the gradient's own size: where that is rounding alone, the step is not.
        assert np.allclose(value, ends[1][name], rtol=1e-3, atol=2e-3), name


def test_images_that_are_normalised_already_teach_the_same(stream) -> None:
    backbone = CountingBackbone()
    prep = backbone.inner.preprocessing
    learner = EagerLearner(Learner(backbone, get_preset("micro").config("cbpnet"), 10, 2))
    images = _images(stream, learner, prep)
    given = dataclasses.replace(images, pixels=normalise(images.pixels, prep.mean, prep.std))
    training = TrainingConfig(epochs=2, batch_size=8, flip=True)
    start = initial_state(learner, 5)
    one, other = (learn_task(learner, start, 0, i, prep, training, 5) for i in (images, given))
    assert all(np.array_equal(value, other[name]) for name, value in one.items())


def test_what_does_not_fit_is_refused(stream) -> None:
    backbone = CountingBackbone()
    prep = backbone.inner.preprocessing
    learner = EagerLearner(Learner(backbone, get_preset("micro").config("cbpnet"), 10, 2))
    images = _images(stream, learner, prep)
    start, training = initial_state(learner, 0), TrainingConfig()
    with pytest.raises(InputError, match="task 2 is outside the learner's capacity of 2 tasks"):
        learn_task(learner, start, 2, images, prep, training, 0)
    small = EagerLearner(Learner(backbone, get_preset("micro").config("cbpnet"), 3, 2))
    with pytest.raises(InputError, match="class 4 is outside the learner's capacity of 3"):
        learn_task(small, initial_state(small, 0), 0, images, prep, training, 0)
    with pytest.raises(InputError, match="epochs is 0"):
        TrainingConfig(epochs=0)


def test_a_budget_is_exceeded_only_on_purpose() -> None:
    found = count_trainables(get_preset("vit_tiny").config("cbpnet"), 192, 5_524_416)
    assert found.trainable == 10_960
    assert found.share == pytest.approx(0.00198392, rel=1e-5)
    check_budget(found, 0.002)
    with pytest.raises(InputError, match=r"10,960 parameters, 0\.198 % of the backbone's"):
        check_budget(found, 0.0019)
    with pytest.raises(InputError, match="preset 'vit_huge' does not exist"):
        get_preset("vit_huge")
