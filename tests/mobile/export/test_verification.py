"""Verifying a bundle: one that is right passes, and each kind of wrong one is refused."""

import copy

import numpy as np
import pytest
import torch

import mobile.export.verification
from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.method.learner import Learner
from mobile.device.program import Program
from mobile.export.verification import verify
from quantize.trunk import FrozenTrunk


def learner_on(backbone, server):
    return Learner(FrozenTrunk(backbone, "fp32"), server.info.config, 6, 3)


@pytest.fixture
def right(small_backbone, server):
    return learner_on(small_backbone, server)


def test_a_right_bundle_agrees(fp32_export, right, server):
    found = verify(fp32_export.path, right, server.grown, "fp32", 16)
    assert found.features > 0.9999
    assert found.scores < 1e-4
    assert found.gradients.keys() == right.trainables.keys()
    assert all(cosine > 0.9999 for cosine in found.gradients.values())
    fp32_export.path.with_suffix(".safetensors").unlink()  # the state that it tried


def test_another_stored_state_is_refused(fp32_export, right, server):
    other = server.grown.replace({"block.b_in": server.grown["block.b_in"] + 1e-6})
    with pytest.raises(InputError, match=r"initial_state has another block\.b_in than it should"):
        verify(fp32_export.path, right, other, "fp32", 16)


def test_a_program_of_another_backbone_is_refused(fp32_export, small_backbone, server):
    vit = copy.deepcopy(small_backbone.vit)
    with torch.no_grad():
        vit.patch_embed.proj.weight.mul_(-1)
    other = Backbone("other", vit)
    with pytest.raises(InputError, match="disagrees with PyTorch: the cosine of the features is 0"):
        verify(fp32_export.path, learner_on(other, server), server.grown, "fp32", 16)


def test_wrong_gradients_of_a_right_network_are_refused(fp32_export, right, server, monkeypatch):
    """The query agrees; the block's gradient is turned round."""
    true = Learner.gradients

    def turned(self, *arguments):
        found = true(self, *arguments)
        return found | {"block.w_in": -found["block.w_in"]}

    monkeypatch.setattr(Learner, "gradients", turned)
    with pytest.raises(InputError, match=r"the cosine of the gradient of block\.w_in is -1\.0000"):
        verify(fp32_export.path, right, server.grown, "fp32", 16)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda scores: scores + np.float32(0.01) * (np.arange(scores.shape[1]) == 1),
        lambda scores: scores.clip(min=-100),  # classes that are not known
        lambda scores: scores * np.nan,
    ],
)
def test_wrong_scores_are_refused(fp32_export, right, server, monkeypatch, wrong):
    true = Program.call

    def call(self, method, tensors):
        found = true(self, method, tensors)
        return found | {"scores": wrong(found["scores"])} if method == "predict" else found

    monkeypatch.setattr(Program, "call", call)
    with pytest.raises(InputError, match="disagrees with PyTorch: a score differs by"):
        verify(fp32_export.path, right, server.grown, "fp32", 16)


@pytest.mark.parametrize("name", ["prompts.e", "prompts.keys", "block.w_out", "head.weight"])
def test_a_trainable_that_a_step_does_not_change_is_refused(
    fp32_export, right, server, monkeypatch, name
):
    true = Program.call

    def stuck(self, method, tensors):
        found = true(self, method, tensors)
        return found | {f"state.{name}": tensors[f"state.{name}"]} if method == "update" else found

    monkeypatch.setattr(Program, "call", stuck)
    with pytest.raises(InputError, match=f"does not change {name}: it was baked in"):
        verify(fp32_export.path, right, server.grown, "fp32", 16)


def test_a_state_that_its_file_alters_is_refused(fp32_export, right, server, monkeypatch):
    true = mobile.export.verification.load_state

    def altered(path):
        state, info = true(path)
        return state.replace({"adam.step": state["adam.step"] + 1}), info

    monkeypatch.setattr(mobile.export.verification, "load_state", altered)
    with pytest.raises(InputError, match=r"state file has another adam\.step"):
        verify(fp32_export.path, right, server.grown, "fp32", 16)


def test_torch_is_left_as_it_was(fp32_export, right, server):
    """A seed of its own: what an export draws later does not depend on verifying."""
    before = torch.random.get_rng_state()
    verify(fp32_export.path, right, server.grown, "fp32", 16)
    assert torch.equal(torch.random.get_rng_state(), before)
