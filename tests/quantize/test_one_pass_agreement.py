"""The report of one-pass learners against direct computations with both."""

import json

import pytest
import torch
from torch import Tensor

from cbpnet.backbone.vit import Backbone
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import LearnerState
from quantize.one_pass_agreement import OnePassReport, compare_one_pass_learners
from quantize.trunk import FrozenTrunk

CONFIG = LearnerConfig(
    PromptConfig((0, 1), 2, ()),
    readout=ReadoutConfig("whitened"),
    adaptation=AdaptationConfig("first"),
    features=("pooled", "patches"),
)
LABELS = [torch.tensor([0, 3, 4, 3]), torch.tensor([4, 1, 0, 4, 3])]


@pytest.fixture
def learners(backbone: Backbone) -> tuple[OnePassLearner, OnePassLearner]:
    trunk = FrozenTrunk(backbone, "int8", features=CONFIG.features)
    return OnePassLearner(backbone, CONFIG, 6), OnePassLearner(trunk, CONFIG, 6)


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    pictures = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    return [(pictures[labels] + torch.randn(len(labels), 3, 32, 32), labels) for labels in LABELS]


def start(learner: OnePassLearner) -> LearnerState:
    return learner.initial_state(RandomStream(1, 0))


def left_out(learner: OnePassLearner, x: Tensor, labels: Tensor) -> list[int]:
    """The class of each image by the others, counted anew without it; where its class has any."""
    state = start(learner)
    found = []
    for image, label in enumerate(labels):
        others = torch.arange(len(labels)) != image
        if (labels[others] == label).any():
            counted = learner.observe(state, x[others], labels[others])
            # The prior is what it was with all images.
            whole = learner.observe(state, x, labels)["classes.scatter"].trace() / (9 - 4)
            part = counted["classes.scatter"].trace() / (8 - 4)
            solved, _ = learner.solve(counted, state["readout.prior"] * whole / part, torch.ones(1))
            found.append(int(learner.predict(solved, x[image : image + 1])[0].argmax()))
    return found


def test_features_answers_and_gradients_are_compared(
    learners: tuple[OnePassLearner, OnePassLearner], batches: list[tuple[Tensor, Tensor]]
) -> None:
    exact, rounded = learners
    report = compare_one_pass_learners(exact, rounded, start(exact), batches)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        x = [learner.features(start(learner), images) for learner in learners]
    cosines = torch.cosine_similarity(*x, dim=1)
    assert report.images == 9
    assert report.features.cosine == pytest.approx(float(cosines.mean()), abs=1e-6)
    answers = [
        left_out(learner, features, labels) for learner, features in zip(learners, x, strict=True)
    ]
    same = sum(a == b for a, b in zip(*answers, strict=True)) / 8  # the class 1 has one image
    assert report.top1_agreement == pytest.approx(same)

    assert list(report.gradients) == ["prompts.g", "head.weight"]
    known = exact.observe(start(exact), x[0], labels)
    begun = exact.begin_task(known, torch.tensor([1.0, 1, 0, 1, 1, 0]))
    for name, agreement in report.gradients.items():
        found = []
        for few, wanted in batches:
            a, b = (
                learner.adaptation.gradients(
                    begun, few, torch.zeros(len(few), 64), wanted, learner.adaptation.zero_sums()
                )[name].flatten()
                for learner in learners
            )
            found.append(float(torch.cosine_similarity(a, b, dim=0)))
        assert agreement.cosine == pytest.approx(sum(found) / 2, abs=1e-5)
        assert agreement.least == pytest.approx(min(found), abs=1e-5)


def test_equal_learners_agree_wholly(
    learners: tuple[OnePassLearner, OnePassLearner], batches: list[tuple[Tensor, Tensor]]
) -> None:
    exact, _ = learners
    report = compare_one_pass_learners(exact, exact, start(exact), batches)
    assert (report.features.sqnr_db, report.top1_agreement) == (None, 1.0)
    assert from_json(OnePassReport, json.loads(json.dumps(report.as_dict()))) == report


def test_single_images_of_their_classes_have_no_answer(
    learners: tuple[OnePassLearner, OnePassLearner], batches: list[tuple[Tensor, Tensor]]
) -> None:
    images = batches[0][0][:3]
    report = compare_one_pass_learners(
        *learners, start(learners[0]), [(images, torch.tensor([0, 3, 4]))]
    )
    assert report.top1_agreement is None


def test_no_batch_is_refused(learners: tuple[OnePassLearner, OnePassLearner]) -> None:
    with pytest.raises(InputError, match="needs at least one batch of images"):
        compare_one_pass_learners(*learners, start(learners[0]), [])
