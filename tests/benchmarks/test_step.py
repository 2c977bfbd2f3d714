"""The step that all compute: on disc and back, and what it is made of."""

from pathlib import Path

import pytest
import torch

from benchmarks.pytorch_learner import LossModule, build_learner
from benchmarks.step import Model, Step, load_step, save_step
from benchmarks.step_maker import make_step
from cbpnet.method.layout import POOL_OF

MODEL = Model("vit_micro_patch8_32", None, 32, classes=5, tasks=2, micro_batch=3)


@pytest.fixture(scope="module")
def step() -> Step:
    return make_step(MODEL, 6, "digits", None)


def test_a_file_keeps_every_bit(step, tmp_path: Path):
    save_step(step, tmp_path / "step")
    found = load_step(tmp_path / "step")
    assert found.model == MODEL
    for name in ("images", "query", "labels", "noise"):
        assert torch.equal(getattr(found, name), getattr(step, name))
    assert all(torch.equal(found.state[name], value) for name, value in step.state.items())


def test_turns_go_round_the_images(step):
    assert step.labels.tolist() == [0, 1, 0, 1, 0, 1]
    images, query, labels = step.batch(3)
    assert torch.equal(images, step.images[[3, 4, 5]])
    assert torch.equal(query, step.query[[3, 4, 5]])
    assert labels.tolist() == [1, 0, 1]


def test_photographs_are_different_ones_of_their_class(step):
    assert len({image.sum().item() for image in step.images}) == 6


def test_everything_that_learns_has_a_gradient(step):
    learner = build_learner(MODEL)
    sums = learner.gradients(step.state, *step.batch(0), learner.zero_sums())
    assert all(sums[name].abs().sum() > 0 for name in learner.trainables)
    assert all(step.state[POOL_OF.get(name, name)].abs().sum() > 0 for name in learner.trainables)


def test_the_loss_module_has_the_learners_gradients(step):
    learner, module = build_learner(MODEL), LossModule(step)
    exact = learner.gradients(step.state, *step.batch(1), learner.zero_sums())
    loss = module(*step.batch(1))
    loss.backward()
    assert loss.item() == pytest.approx(exact["loss"].item())
    found = {name.replace("_", ".", 1): value.grad for name, value in module.trained.items()}
    assert found.keys() == learner.trainables.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, exact[name])
    assert all(value.grad is None for value in module.backbone.parameters())
