"""A one-pass bundle of the real kind against the learner in PyTorch on the true backbone."""

import math

import numpy as np
import pytest

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.layout import adaptation_config, methods_of, state_layout
from cbpnet.method.one_pass import OnePassLearner
from mobile.device.bundle import read_manifest
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program

CLASSES = 6


@pytest.fixture(scope="module")
def manifest(int8_one_pass):
    return read_manifest(int8_one_pass)


@pytest.fixture(scope="module")
def bundle(int8_one_pass):
    return OnePassProgram(Program(int8_one_pass))


@pytest.fixture(scope="module")
def exact(small_backbone, manifest):
    """The learner in PyTorch, on the backbone itself and not on its frozen form."""
    return EagerOnePass(OnePassLearner(small_backbone, manifest.config, CLASSES))


@pytest.fixture
def lesson():
    """Images and labels of three classes."""
    labels = np.arange(12) % 3
    brightness = (0.5 * labels - 0.5).astype(np.float32).reshape(-1, 1, 1, 1)
    return RandomStream(7, 0).normal(12, 3, 16, 16) + brightness, labels


def test_the_trunk_is_in_few_delegates_and_all_else_in_none(manifest):
    assert manifest.methods.keys() == set(methods_of(manifest.config))
    calls = {name: method.delegate_calls for name, method in manifest.methods.items()}
    assert {name: count for name, count in calls.items() if count} == {
        "features": 1,
        "gradients": 2,
    }
    for name in ("features", "gradients"):
        method = manifest.methods[name]
        assert method.undelegated_macs < 0.15 * method.macs, name
        assert not {"linear", "addmm", "layer_norm", "gelu"} & method.undelegated.keys()


def test_nothing_of_ours_is_left_outside_the_delegates(manifest):
    """A runtime without the delegate has no kernel for it."""
    for method in manifest.methods.values():
        assert not {"frozen_linear", "frozen_linear_transposed", "halved", "restored"} & set(
            method.undelegated
        )
        assert not any("linalg" in name for name in method.undelegated)


def test_the_manifest_describes_the_bundle(manifest, small_backbone):
    dim, config = small_backbone.dim, manifest.config
    assert (manifest.classes, manifest.tasks, manifest.micro_batch) == (CLASSES, 1, 2)
    assert manifest.layout == state_layout(config, dim, CLASSES, 1)
    prompt = math.prod(manifest.layout["prompts.g"])
    assert manifest.trainable_parameters == prompt == 2 * 2 * 2 * dim
    assert manifest.trainable_fraction == prompt / small_backbone.parameters_without_head
    assert manifest.head_parameters == CLASSES * dim
    adaptation = {tensor.name: tensor.shape for tensor in manifest.adaptation}
    assert adaptation == state_layout(adaptation_config(config), dim, CLASSES, 1)


def test_what_an_adaptation_takes_is_what_begins_it(manifest):
    """A host begins with what `begin_task` gives, and with nothing else."""
    begun = {tensor.name for tensor in manifest.methods["begin_task"].outputs}
    assert begun == {f"adaptation.{tensor.name}" for tensor in manifest.adaptation}
    for name in ("gradients", "update"):
        taken = {tensor.name for tensor in manifest.methods[name].inputs}
        assert {name for name in taken if name.startswith("adaptation.")} <= begun
        assert not any(name.startswith("state.") for name in taken)


def cosines(a, b):
    """The cosine of each row of two arrays [N, F]."""
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_features_and_confidence_are_those_of_the_backbone(bundle, exact, lesson, small_backbone):
    images, _ = lesson
    state = bundle.stored_state()
    expected, sure = exact.features(state, images), exact.confidence(images)
    found = bundle.features(state, images)
    assert found.shape == (len(images), 2 * small_backbone.dim)
    assert cosines(found, expected).min() > 0.99
    assert not np.allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(bundle.confidence(images), sure, rtol=0.1, atol=0)


def test_gradients_point_where_those_of_the_backbone_do(bundle, exact, lesson, small_backbone):
    images, labels = lesson
    state = bundle.stored_state()
    x = exact.features(state, images)
    counted = exact.observe(state, x, labels)
    begun = exact.begin_task(counted, np.array([1, 1, 1, 0, 0, 0], np.float32))
    rest = begun, images, x[:, : small_backbone.dim], labels
    expected = exact.adaptation.gradients(*rest, exact.adaptation.zero_sums())
    found = bundle.adaptation.gradients(*rest, bundle.adaptation.zero_sums())
    for name in ("prompts.g", "head.weight"):
        (cosine,) = cosines(found[name].reshape(1, -1), expected[name].reshape(1, -1))
        assert 0.95 < cosine < 1 - 1e-7, name
    assert found["count"] == len(labels)
