"""Makes a learning step: images, and a state that has begun to learn them."""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.pytorch_learner import build_learner, load_backbone
from benchmarks.step import Model, Step
from cbpnet.data.catalogue import load_dataset
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.eager import EagerLearner
from cbpnet.method.tensors import array_of, as_tensors
from cbpnet.run.training import begin_task

__all__ = ["CLASSES_SHOWN", "make_step"]

CLASSES_SHOWN = 2
_STEPS_BEFORE = 3  # so that nothing that learns is zero any more


def make_step(model: Model, count: int, dataset: str | None, data: Path | None) -> Step:
    """Return a step on ``count`` photographs of a data set, or on random numbers.

    They are of the first `CLASSES_SHOWN` classes in turn, two images of a class or more.
    """
    learner = build_learner(model)
    host, stream = EagerLearner(learner), RandomStream(0, 0)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % CLASSES_SHOWN
    if dataset is None:
        images = torch.randn(count, 3, model.image_size, model.image_size, generator=generator)
    else:
        images = _photographs(labels, dataset, data, load_backbone(model).preprocessing)
    start = host.initial_state(stream)
    noise = torch.from_numpy(stream.uniform(*learner.noise_shape))
    with torch.no_grad():
        query = torch.cat([learner.query(image) for image in images.split(1)])
    state = as_tensors(begin_task(host, start, 0, array_of(query), array_of(labels)))
    for _ in range(_STEPS_BEFORE):
        sums = learner.gradients(state, images, query, labels, learner.zero_sums())
        with torch.no_grad():
            state = learner.update(state, sums, noise, torch.ones(1))
    return Step(model, images, query, labels, noise, state)


def _photographs(
    labels: Tensor, dataset: str, data: Path | None, preprocessing: Preprocessing
) -> Tensor:
    source = load_dataset(dataset, data, strict=True).train
    found = torch.from_numpy(source.labels)
    chosen = [
        int((found == label).nonzero()[number // CLASSES_SHOWN])
        for number, label in enumerate(labels.tolist())
    ]
    pixels = load_batch(source, chosen, preprocessing)
    return torch.from_numpy(normalise(pixels, preprocessing.mean, preprocessing.std))
