"""Smoothing changes nothing in fp32, and evens out what is rounded."""

import pytest
import torch
from torch import Tensor

from quantize.smoothing import channel_maxima, smooth, smoothing_factors
from quantize.static_int8 import StaticRecipe, calibrate, roundable, static_trunk
from quantize.trunk import FrozenTrunk


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 32, 32)


def _inputs(trunk: FrozenTrunk, name: str, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = trunk.layers[name].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    trunk(images)
    hook.remove()
    return seen[0].flatten(0, -2)


def test_maxima_are_those_of_the_layers_after_a_norm(trunk: FrozenTrunk, images: Tensor) -> None:
    maxima = channel_maxima(trunk, images.split(2))
    assert list(maxima) == [f"blocks.{i}.{name}" for i in range(3) for name in ("qkv", "fc1")]
    for name, found in maxima.items():
        torch.testing.assert_close(found, _inputs(trunk, name, images).abs().amax(dim=0))


def test_maxima_see_every_pass(trunk: FrozenTrunk, images: Tensor) -> None:
    prefix = {0: 20 * torch.randn(1, 2, 5, 64)}
    alone, prompted = channel_maxima(trunk, [images]), channel_maxima(trunk, [images], [prefix])
    for name, found in channel_maxima(trunk, [images], [None, prefix]).items():
        assert found.equal(torch.maximum(alone[name], prompted[name]))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_a_smoothed_trunk_computes_the_same(
    trunk: FrozenTrunk, images: Tensor, strength: float
) -> None:
    prefix = {1: torch.randn(1, 2, 5, 64)}
    expected = trunk(images, prefix)
    factors = smoothing_factors(trunk, channel_maxima(trunk, [images]), strength)
    smoothed = smooth(trunk, factors)
    torch.testing.assert_close(smoothed(images, prefix), expected, atol=2e-5, rtol=1e-4)
    assert trunk(images, prefix).equal(expected)  # the given trunk is left as it was
    name = "blocks.1.fc1"
    torch.testing.assert_close(
        _inputs(smoothed, name, images),
        _inputs(trunk, name, images) / factors[name],
        atol=1e-5,
        rtol=1e-4,
    )


def test_factors_are_smoothquants(trunk: FrozenTrunk) -> None:
    maxima = {"blocks.0.qkv": torch.rand(64) + 0.1}
    factors = smoothing_factors(trunk, maxima, 0.75)["blocks.0.qkv"]
    weight = trunk.layers["blocks.0.qkv"].weight
    for channel in range(64):
        largest = max(abs(value) for value in weight[:, channel].tolist())
        expected = maxima["blocks.0.qkv"][channel].item() ** 0.75 / largest**0.25
        assert factors[channel].item() == pytest.approx(expected, rel=1e-5)


def test_a_channel_that_is_never_seen_stays_finite(trunk: FrozenTrunk, images: Tensor) -> None:
    maxima = channel_maxima(trunk, [images])
    maxima["blocks.0.qkv"][3] = 0
    smoothed = smooth(trunk, smoothing_factors(trunk, maxima, 0.5))
    torch.testing.assert_close(smoothed(images), trunk(images), atol=1e-4, rtol=1e-3)


def test_an_outlier_channel_is_repaired(trunk: FrozenTrunk, images: Tensor) -> None:
    # A channel whose activations are 300 times the others', with weights as much smaller.
    outlier = torch.ones(64)
    outlier[5] = 1 / 300
    spoilt = smooth(trunk, {"blocks.1.fc1": outlier})
    repaired = smooth(spoilt, {"blocks.1.fc1": 1 / outlier})
    names = roundable(trunk, layers_only=True)
    exact = trunk(images)

    def error(candidate: FrozenTrunk) -> float:
        ranges = calibrate(candidate, [images])
        recipe = StaticRecipe({name: ranges[name] for name in names})
        return (static_trunk(candidate, recipe)(images) - exact).norm().item()

    assert error(spoilt) > 3 * error(repaired)
