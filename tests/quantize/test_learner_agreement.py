"""The report against direct computations with both learners."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone.vit import Backbone
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import BlockConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.eager import EagerLearner
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from cbpnet.method.tensors import as_tensors
from cbpnet.run.training import TaskImages, TrainingConfig, learn_task
from quantize.learner_agreement import (
    FeatureAgreement,
    GradientAgreement,
    QuantisationReport,
    compare_learners,
)
from quantize.trunk import FrozenTrunk

CONFIG = LearnerConfig(
    prompts=PromptConfig(g_length=2, g_layers=(0,), e_length=2, e_layers=(1, 2)),
    block=BlockConfig(hidden=8),
    readout=ReadoutConfig(kind="means"),
)
PREPROCESSING = Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
NAMES = [
    "prompts.g",
    "prompts.e",
    "prompts.key",
    "block.w_in",
    "block.b_in",
    "block.w_out",
    "head.weight",
]


def _images(labels: Tensor) -> Tensor:
    """Images of classes that differ: each class has a picture of its own, and noise on it."""
    pictures = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    return pictures[labels] + 0.5 * torch.randn(len(labels), 3, 32, 32)


def _learner(backbone: Backbone, config: LearnerConfig = CONFIG) -> Learner:
    return Learner(backbone, config, classes=6, tasks=3)


def _learnt(learner: Learner) -> LearnerState:
    """Classes 0 to 2 in the first task, 3 and 4 in the second, which is the current one."""
    eager, config = EagerLearner(learner), TrainingConfig(epochs=2)
    state = eager.initial_state(RandomStream(1, 0))
    for task, labels in enumerate([torch.tensor([0, 1, 2] * 4), torch.tensor([3, 4] * 4)]):
        pixels = _images(labels).numpy()
        images = TaskImages(pixels, labels.numpy(), eager.query(pixels))
        state = learn_task(eager, state, task, images, PREPROCESSING, config, seed=0)
    return as_tensors(state)


@pytest.fixture
def exact(backbone: Backbone) -> Learner:
    return _learner(backbone)


@pytest.fixture
def rounded(backbone: Backbone) -> Learner:
    return Learner(FrozenTrunk(backbone, "int8"), CONFIG, classes=6, tasks=3)


@pytest.fixture
def state(exact: Learner) -> LearnerState:
    return _learnt(exact)


BATCHES = [torch.tensor([0, 3, 4, 3]), torch.tensor([4, 1, 2, 4, 3])]


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    return [(_images(labels), labels) for labels in BATCHES]


def test_queries_predictions_and_gradients_are_compared(
    exact: Learner, rounded: Learner, state: LearnerState, batches: list[tuple[Tensor, Tensor]]
) -> None:
    counted: list[int] = []
    report = compare_learners(exact, rounded, state, batches, counted.append)
    assert (report.images, report.gradient_images, counted) == (9, 6, [4, 5])

    images = torch.cat([images for images, _ in batches])
    ours, theirs = exact.query(images), rounded.query(images)
    cosines = [float(a @ b / a.norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)]
    assert report.query.cosine == pytest.approx(sum(cosines) / 9, abs=1e-6)
    ratio = float(ours.square().sum() / (ours - theirs).square().sum())
    assert report.query.sqnr_db == pytest.approx(10 * math.log10(ratio), abs=1e-3)
    assert 10 < report.query.sqnr_db < 60

    scores = exact.predict(state, images, ours), rounded.predict(state, images, theirs)
    same = (scores[0][0].argmax(1) == scores[1][0].argmax(1)).float().mean().item()
    assert report.top1_agreement == pytest.approx(same)
    task = (scores[0][1].argmax(1) == scores[1][1].argmax(1)).float().mean().item()
    assert report.task_agreement == pytest.approx(task)

    assert list(report.gradients) == NAMES
    for name, agreement in report.gradients.items():
        cosines = []
        for images, labels in batches:
            a, b = (
                learner.gradients(
                    state, images, learner.query(images), labels, learner.zero_sums()
                )[name].flatten()
                for learner in (exact, rounded)
            )
            cosines.append(float(a @ b / a.norm() / b.norm()))
        assert agreement.cosine == pytest.approx(sum(cosines) / 2, abs=1e-5)
        assert agreement.least == pytest.approx(min(cosines), abs=1e-5)
        assert 0.5 < agreement.least < 1


def test_the_prompted_feature_has_the_prompts_of_the_exact_learners_task(
    exact: Learner, rounded: Learner, state: LearnerState, batches: list[tuple[Tensor, Tensor]]
) -> None:
    report = compare_learners(exact, rounded, state, batches)
    pairs = []
    for images, _ in batches:
        chosen = exact.scores(state, images, exact.query(images), ["none"])[1].argmax(1)
        for image, task in zip(images, chosen, strict=True):
            prefix = {0: state["prompts.g"][:1]}
            prefix |= {layer: state["prompts.e"][task, i][None] for i, layer in enumerate((1, 2))}
            pairs.append(
                [F.normalize(learner.backbone(image[None], prefix)) for learner in (exact, rounded)]
            )
    cosines = [float((a * b).sum()) for a, b in pairs]
    assert report.prompted is not None
    assert report.prompted.cosine == pytest.approx(sum(cosines) / 9, abs=1e-6)
    assert report.prompted.cosine != pytest.approx(report.query.cosine, abs=1e-6)


def test_a_learner_agrees_with_itself(
    exact: Learner, state: LearnerState, batches: list[tuple[Tensor, Tensor]]
) -> None:
    report = compare_learners(exact, exact, state, batches)
    assert report.query == report.prompted == FeatureAgreement(pytest.approx(1), None)
    assert report.top1_agreement == report.task_agreement == 1
    for agreement in report.gradients.values():
        assert agreement == GradientAgreement(pytest.approx(1), pytest.approx(1))


def test_another_backbone_does_not_agree(
    exact: Learner, state: LearnerState, batches: list[tuple[Tensor, Tensor]], backbone: Backbone
) -> None:
    with torch.no_grad():
        for layer in backbone.vit.blocks:
            layer.mlp.fc2.weight.mul_(-3)
    shuffled = Learner(FrozenTrunk(backbone, "fp32"), CONFIG, classes=6, tasks=3)
    with torch.no_grad():
        for layer in backbone.vit.blocks:
            layer.mlp.fc2.weight.div_(-3)
    report = compare_learners(exact, shuffled, state, batches)
    assert report.query.cosine < 0.9
    assert report.gradients["prompts.g"].cosine < 0.5


class _Program:
    """A learner of which only the interface can be seen, as of one in a bundle."""

    def __init__(self, learner: Learner) -> None:
        self.config, self.query, self.scores = learner.config, learner.query, learner.scores
        self.gradients, self.zero_sums = learner.gradients, learner.zero_sums


def test_a_program_gives_no_prompted_feature(
    exact: Learner, rounded: Learner, state: LearnerState, batches: list[tuple[Tensor, Tensor]]
) -> None:
    full = compare_learners(exact, rounded, state, batches)
    report = compare_learners(exact, _Program(rounded), state, batches)  # type: ignore[arg-type]
    assert report == replace(full, prompted=None)


def test_images_of_other_tasks_have_no_gradients(
    exact: Learner, rounded: Learner, state: LearnerState
) -> None:
    labels = torch.tensor([0, 1, 2])
    report = compare_learners(exact, rounded, state, [(_images(labels), labels)])
    assert (report.images, report.gradient_images, report.gradients) == (3, 0, {})


def test_a_learner_without_prompts_and_block(backbone: Backbone) -> None:
    config = LearnerConfig(
        prompts=PromptConfig(g_layers=(), e_layers=()), readout=ReadoutConfig(kind="none")
    )
    exact = _learner(backbone, config)
    rounded = Learner(FrozenTrunk(backbone, "int8"), config, classes=6, tasks=3)
    state = _learnt(exact)
    labels = torch.tensor([3, 4, 4])
    report = compare_learners(exact, rounded, state, [(_images(labels), labels)])
    assert list(report.gradients) == ["head.weight"]
    assert report.prompted == report.query
    assert report.task_agreement == 1


def test_the_dictionary_is_plain_json_and_reads_back(
    exact: Learner, rounded: Learner, state: LearnerState, batches: list[tuple[Tensor, Tensor]]
) -> None:
    for other in (exact, rounded):
        report = compare_learners(exact, other, state, batches)
        text = json.dumps(report.as_dict(), allow_nan=False)
        assert from_json(QuantisationReport, json.loads(text)) == report


def test_no_images_are_refused(exact: Learner, rounded: Learner, state: LearnerState) -> None:
    with pytest.raises(InputError, match="needs at least one batch of images; there was none"):
        compare_learners(exact, rounded, state, [])
