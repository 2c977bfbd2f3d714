"""In which order, and how mirrored, the training loop hands the images to the learner."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.stream import make_stream
from cbpnet.method.config import BlockConfig, LearnerConfig, PromptConfig
from cbpnet.method.eager import EagerLearner
from cbpnet.method.learner import Learner
from cbpnet.run.training import (
    TaskImages,
    TrainingConfig,
    compute_queries,
    initial_state,
    learn_task,
)

DIM = 8
PREPROCESSING = Preprocessing(16, (0.0,) * 3, (1.0,) * 3, "bilinear", 1.0)
CONFIG = LearnerConfig(PromptConfig((0,), 1, (1,), 1), BlockConfig(3))


class Recorder(EagerLearner):
    """A learner that remembers the images it was trained on, an array for each micro-batch."""

    def __init__(self, learner):
        super().__init__(learner)
        self.seen = []

    def gradients(self, state, images, *rest):
        self.seen.append(images)
        return super().gradients(state, images, *rest)


@pytest.fixture
def learner(toy_extractor):
    return Recorder(Learner(toy_extractor(DIM), CONFIG, classes=5, tasks=3))


@pytest.fixture
def stream(picture_dataset):
    return make_stream(picture_dataset(train=9, size=16), 2)


def learn(learner, stream, config, seed=0, task=0):
    """Learn the stream's first task under a number; return the images [N, C, S, S] and the state.

    What the learner saw is left in its record.
    """
    indices = stream.tasks[0].train
    images = TaskImages(
        stream.train_source.pixels[indices],
        stream.tasks[0].train_labels,
        compute_queries(learner, stream.train_source, indices, PREPROCESSING),
    )
    learner.seen.clear()
    start = initial_state(learner, seed)
    state = learn_task(learner, start, task, images, PREPROCESSING, config, seed)
    return images.pixels.transpose(0, 3, 1, 2) / np.float32(255), state


def order(learner, images):
    """Which image each of the seen ones is, negative (-1 - index) where it is mirrored."""
    found = []
    for image in np.concatenate(learner.seen):
        (same,) = (images == image).all(axis=(1, 2, 3)).nonzero()
        (mirrored,) = (images[..., ::-1] == image).all(axis=(1, 2, 3)).nonzero()
        assert len(same) + len(mirrored) == 1
        found.append(int(same[0]) if len(same) else -1 - int(mirrored[0]))
    return found


def test_each_epoch_takes_each_image_once_in_a_new_order(learner, stream):
    images, _ = learn(learner, stream, TrainingConfig(3, batch_size=4, micro_batch=3))
    assert [len(batch) for batch in learner.seen] == [3, 1, 3, 1, 3, 1, 3, 1, 2] * 3
    seen = order(learner, images)
    epochs = [seen[:18], seen[18:36], seen[36:]]
    assert all(sorted(epoch) == list(range(18)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_steps_are_counted_as_they_are_taken(learner, stream):
    config = TrainingConfig(3, batch_size=4, micro_batch=4)
    _, state = learn(learner, stream, config)
    assert config.steps(18) == len(learner.seen) == state["adam.step"] == 15


def test_flipping_mirrors_about_half_of_the_images_anew_in_each_epoch(learner, stream):
    images, _ = learn(learner, stream, TrainingConfig(8, 10, 10, flip=True))
    seen = order(learner, images)
    mirrored = [{-1 - i for i in seen[n : n + 18] if i < 0} for n in range(0, len(seen), 18)]
    assert 0.35 < sum(map(len, mirrored)) / len(seen) < 0.65
    assert len({frozenset(epoch) for epoch in mirrored}) == 8


def test_seed_and_task_alone_decide_the_order(learner, stream):
    def orders(seed, task):
        config = TrainingConfig(1, 4, 4, flip=True)
        images, _ = learn(learner, stream, config, seed, task)
        return tuple(order(learner, images))

    first = orders(0, 0)
    torch.manual_seed(99)
    np.random.seed(99)
    before = torch.random.get_rng_state(), np.random.get_state()
    assert orders(0, 0) == first
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])
    assert len({first, orders(1, 0), orders(0, 1), orders(1, 1)}) == 4


def test_the_micro_batch_decides_neither_order_nor_mirroring(learner, stream):
    found = set()
    for micro in (1, 3, 6):
        images, _ = learn(learner, stream, TrainingConfig(2, 6, micro, flip=True))
        found.add(tuple(order(learner, images)))
    assert len(found) == 1


def test_the_first_state_is_drawn_from_the_seed(learner):
    states = [initial_state(learner, seed) for seed in (0, 0, 1)]
    assert np.array_equal(states[0]["prompts.g"], states[1]["prompts.g"])
    assert not np.array_equal(states[0]["prompts.g"], states[2]["prompts.g"])


def test_queries_are_those_of_one_image_at_a_time(micro_backbone, picture_dataset):
    learner = Learner(micro_backbone(torch.float32), CONFIG, 5, 3)
    dataset = picture_dataset(train=9)
    prep = learner.backbone.preprocessing
    host = EagerLearner(learner)
    stream = make_stream(dataset, 5)
    counts = []
    found = compute_queries(host, dataset.train, stream.tasks[0].train, prep, counts.append)
    assert sum(counts) == len(found) == 45  # more than one batch
    for row, index in zip(found, stream.tasks[0].train, strict=True):
        image = torch.from_numpy(dataset.train.pixels[index]).permute(2, 0, 1) / 127.5 - 1
        expected = learner.query(image[None])[0].numpy()
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)
