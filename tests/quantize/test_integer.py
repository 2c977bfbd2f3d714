"""The integer form: what the trunk computes, in numbers and functions that 16 bits can hold."""

import pytest
import torch

from quantize.integer import BEND, integer_form
from quantize.trunk import FrozenTrunk


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32)


@pytest.fixture
def prefixes():
    return {0: torch.randn(1, 2, 4, 64), 2: torch.randn(3, 2, 2, 64)}


def test_it_computes_what_the_trunk_does(trunk, images, prefixes):
    form = integer_form(trunk, far=["blocks.1.fc1"]).double()
    reference = trunk.double()
    given = {layer: prefix.double() for layer, prefix in prefixes.items()}
    for each in (None, given):
        expected = reference(images.double(), each)
        torch.testing.assert_close(form(images.double(), each), expected, rtol=1e-4, atol=1e-4)


def test_it_changes_no_trunk(trunk, images):
    before = trunk(images)
    integer_form(trunk, far=["blocks.0.fc1"])
    assert trunk(images).equal(before)


def test_no_square_of_a_massive_activation_is_large(trunk, images):
    """One channel of the stream reaches thousands; what is squared stays within 1."""
    with torch.no_grad():
        trunk.layers["blocks.0.fc2"].bias[5] += 3000.0
    squared = []
    multiply = torch.Tensor.__mul__

    def watch(a, b):
        if a is b and a.shape[-1] == trunk.dim:  # and not a GELU's
            squared.append(a.abs().max().item())
        return multiply(a, b)

    form = integer_form(trunk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "__mul__", watch)
        found = form(images)
    assert len(squared) >= 2 * len(trunk.blocks)
    assert max(squared) <= 1.0 + 1e-6
    torch.testing.assert_close(found, trunk(images), rtol=1e-3, atol=1e-3)


def test_a_reciprocal_from_a_coarse_table_is_corrected(trunk, images):
    """A tenth too much becomes a hundredth too little, in every layer."""
    form = integer_form(trunk)
    exact = form(images)
    reciprocal = torch.Tensor.reciprocal
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "reciprocal", lambda x: 1.1 * reciprocal(x))
        found = form(images)
    assert torch.cosine_similarity(found, exact).min() > 0.999


def test_a_far_gelu_bends_where_a_gelu_does(trunk, images):
    x = torch.linspace(-3 * BEND, 30 * BEND, 1001, dtype=torch.float64)
    operators = integer_form(trunk, far=["blocks.2.fc1"]).operators
    torch.testing.assert_close(operators["blocks.2"].gelu(x), torch.nn.functional.gelu(x))
    assert operators["blocks.1"].gelu is not operators["blocks.2"].gelu


def test_a_trunk_with_an_uncentred_stream_has_a_form(backbone, images):
    backbone.vit.norm = torch.nn.Identity()
    trunk = FrozenTrunk(backbone, "fp32").double()
    assert not trunk.centred
    expected = trunk(images.double())
    torch.testing.assert_close(integer_form(trunk)(images.double()), expected, rtol=1e-4, atol=1e-4)
