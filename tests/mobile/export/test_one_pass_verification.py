"""Verifying a one-pass bundle: one that is right passes, and each kind of wrong one is refused."""

import copy

import numpy as np
import pytest
import torch

from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from mobile.device.bundle import read_manifest
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.export.verification import verify
from quantize.trunk import FrozenTrunk


def learner_on(backbone, path):
    config = read_manifest(path).config
    features = (*config.features, f"logits{backbone.logits}")
    return OnePassLearner(FrozenTrunk(backbone, "int8", features=features), config, 6)


@pytest.fixture(scope="module")
def right(small_backbone, int8_one_pass):
    return learner_on(small_backbone, int8_one_pass)


@pytest.fixture(scope="module")
def stored(int8_one_pass):
    return OnePassProgram(Program(int8_one_pass)).stored_state()


@pytest.fixture
def check(int8_one_pass, right, stored, tmp_path):
    """Verify the bundle; the state that it tries is written beside a copy."""
    path = tmp_path / "one_pass.pte"
    path.write_bytes(int8_one_pass.read_bytes())

    def run(learner=right, state=stored):
        return verify(path, learner, state, "int8", 16)

    return run


@pytest.fixture
def altered(monkeypatch):
    """Let a method of the program give something else."""
    true = Program.call

    def alter(method, change):
        def call(self, name, tensors):
            found = true(self, name, tensors)
            return found | change(found, tensors) if name == method else found

        monkeypatch.setattr(Program, "call", call)

    return alter


def test_a_right_bundle_agrees(check):
    found = check()
    assert found.features > 0.999
    assert found.scores < 1e-3
    assert found.gradients.keys() == {"prompts.g", "head.weight"}
    assert all(cosine > 0.97 for cosine in found.gradients.values())


def test_another_stored_state_is_refused(check, stored):
    other = stored.replace({"prompts.g": stored["prompts.g"] + 1e-6})
    with pytest.raises(InputError, match=r"initial_state has another prompts\.g than it should"):
        check(state=other)


def test_a_program_of_another_backbone_is_refused(check, small_backbone, int8_one_pass):
    vit = copy.deepcopy(small_backbone.vit)
    vit.reset_classifier(1000)
    with torch.no_grad():
        vit.patch_embed.proj.weight.mul_(-1)
    with pytest.raises(InputError, match="disagrees with PyTorch: features gives another conf"):
        check(learner_on(Backbone("other", vit), int8_one_pass))


def test_other_features_are_refused(check, altered):
    altered("features", lambda found, given: {"x": np.roll(found["x"], 1, axis=1)})
    with pytest.raises(InputError, match="disagrees with PyTorch: the cosine of the features is"):
        check()


def test_wrong_gradients_of_a_right_network_are_refused(check, monkeypatch):
    true = Learner.gradients

    def turned(self, *arguments):
        found = true(self, *arguments)
        return found | {"prompts.g": -found["prompts.g"]}

    monkeypatch.setattr(Learner, "gradients", turned)
    with pytest.raises(InputError, match=r"the cosine of the gradient of prompts\.g is -"):
        check()


@pytest.mark.parametrize(
    ("method", "tensor"),
    [
        ("observe", "state.classes.mean"),
        ("observe", "state.classes.scatter"),
        ("solve", "inverse"),
        ("solve", "state.readout.weight"),
        ("leave_one_out", "sums.likelihood"),
        ("begin_task", "adaptation.head.weight"),
        ("update", "adaptation.adam.m.prompts.g"),
        ("compare", "drift.before_after"),
        ("carry", "state.classes.scatter"),
    ],
)
def test_another_closed_form_is_refused(check, altered, method, tensor):
    altered(method, lambda found, given: {tensor: 1.01 * found[tensor]})
    name = tensor.partition(".")[2] or tensor
    with pytest.raises(InputError, match=f"{method} gives another {name}"):
        check()


def test_a_figure_that_is_none_is_refused(check, altered):
    altered("solve", lambda found, given: {"inverse": found["inverse"] * np.nan})
    with pytest.raises(InputError, match="solve gives another inverse"):
        check()


@pytest.mark.parametrize(
    "wrong", [lambda scores: scores + 1.0, lambda scores: scores.clip(min=-100)]
)
def test_wrong_scores_are_refused(check, altered, wrong):
    altered("predict", lambda found, given: {"scores": wrong(found["scores"])})
    with pytest.raises(InputError, match="disagrees with PyTorch: a score differs by"):
        check()


def test_another_confidence_is_refused(check, altered):
    altered("features", lambda found, given: {"confidence": 0.5 * found["confidence"]})
    with pytest.raises(InputError, match="features gives another confidence"):
        check()


def test_a_prompt_that_a_step_does_not_change_is_refused(check, altered):
    def stuck(found, given):
        return {"adaptation.prompts.g": given["adaptation.prompts.g"]}

    altered("update", stuck)
    with pytest.raises(InputError, match=r"update gives another prompts\.g"):
        check()


def test_torch_is_left_as_it_was(check):
    """A seed of its own: what an export draws later does not depend on verifying."""
    before = torch.random.get_rng_state()
    check()
    assert torch.equal(torch.random.get_rng_state(), before)
