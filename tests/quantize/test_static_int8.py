"""Static int8 against plain rounding, and against a forward pass that is rounded by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from quantize.static_int8 import StaticRecipe, TensorRange, calibrate, roundable, static_trunk
from quantize.trunk import FrozenTrunk


def _by_hand(x: Tensor, low: float, high: float) -> Tensor:
    """Values as the nearest of 256 steps of which one is 0 mean them."""
    values = x.double().numpy()
    scale = (max(high, 0.0) - min(low, 0.0)) / 255
    zero = round(min(low, 0.0) / scale)
    steps = np.clip(np.round(values / scale), zero, zero + 255)
    return torch.from_numpy(steps * scale).float()


def _images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-2.5, 0.0), (0.5, 2.0), (-3.0, -1.0)])
def test_values_go_to_the_nearest_of_256_steps(low: float, high: float) -> None:
    x = 2 * torch.randn(301)
    found = TensorRange(low, high).round(x)
    torch.testing.assert_close(found, _by_hand(x, low, high), atol=1e-6, rtol=1e-6)
    assert len(found.unique()) <= 256
    assert TensorRange(low, high).round(torch.zeros(1)) == 0


def test_a_range_has_an_int8_zero_point_and_a_step() -> None:
    assert TensorRange(-128.0, 127.0).scale == 1
    assert TensorRange(-128.0, 127.0).zero_point == 0
    assert TensorRange(0.0, 255.0).zero_point == -128
    assert TensorRange(-255.0, 0.0).zero_point == 127


def test_a_range_of_nothing_but_zero_keeps_zero() -> None:
    assert TensorRange(0.0, 0.0).round(torch.zeros(3)).eq(0).all()


def test_what_can_be_rounded_stands_in_the_order_of_computation(trunk: FrozenTrunk) -> None:
    block = ["qkv", "qkv.output", "proj", "proj.output", "attention_sum"]
    block += ["fc1", "fc1.output", "fc2", "fc2.output", "mlp_sum"]
    names = ["patch_embed", "patch_embed.output", "embedding"]
    names += [f"blocks.{i}.{name}" for i in range(3) for name in block]
    assert roundable(trunk) == names
    assert roundable(trunk, layers_only=True) == list(trunk.layers)


def _seen(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """The tensors of timm's model that have no layer's fold in them.

    The trunk's residual stream is timm's less each token's mean.
    """
    vit = backbone.vit
    with torch.no_grad():
        patches = vit.patch_embed(images)
        embedded = vit._pos_embed(patches)
        first = vit.blocks[0]
        attended = embedded + first.attn(first.norm1(embedded))
        hidden = first.mlp.act(first.mlp.fc1(first.norm2(attended)))
        return {
            "patch_embed": images,
            "patch_embed.output": patches,
            "embedding": embedded,
            "blocks.0.attention_sum": _centred(attended),
            "blocks.0.fc1.output": first.mlp.fc1(first.norm2(attended)),
            "blocks.0.fc2": hidden,
            "blocks.0.fc2.output": _centred(first.mlp.fc2(hidden)),
            "blocks.0.mlp_sum": _centred(attended + first.mlp.fc2(hidden)),
        }


def _centred(tokens: Tensor) -> Tensor:
    return tokens - tokens.mean(dim=-1, keepdim=True)


def test_calibration_sees_the_extremes_of_every_tensor(
    backbone: Backbone, trunk: FrozenTrunk
) -> None:
    batches = [_images(), 2 * _images()]
    ranges = calibrate(trunk, batches)
    assert set(ranges) == set(roundable(trunk))
    seen = [_seen(backbone, images) for images in batches]
    for name in seen[0]:
        together = torch.cat([each[name].flatten() for each in seen])
        assert ranges[name].low == pytest.approx(together.min().item(), rel=1e-4, abs=1e-5)
        assert ranges[name].high == pytest.approx(together.max().item(), rel=1e-4, abs=1e-5)


def test_calibration_sees_every_pass(trunk: FrozenTrunk) -> None:
    images, prefix = _images(), {1: 20 * torch.randn(1, 2, 5, 64)}
    alone, prompted = calibrate(trunk, [images]), calibrate(trunk, [images], [prefix])
    both = calibrate(trunk, [images], [None, prefix])
    assert alone["blocks.1.proj"] != prompted["blocks.1.proj"]
    for name, tensor_range in both.items():
        assert tensor_range.low == min(alone[name].low, prompted[name].low)
        assert tensor_range.high == max(alone[name].high, prompted[name].high)


@pytest.mark.parametrize("percentile", [99.0, 90.0, 60.0])
def test_percentiles_cut_both_ends(trunk: FrozenTrunk, percentile: float) -> None:
    images = _images()
    found = calibrate(trunk, [images], percentile=percentile)["patch_embed"]
    values = np.sort(images.numpy().ravel())
    rank = int(np.ceil(len(values) * percentile / 100))
    assert found == TensorRange(values[len(values) - rank].item(), values[rank - 1].item())


@pytest.mark.parametrize("percentile", [50.0, 0.0, 100.1, float("nan")])
def test_other_percentiles_are_refused(trunk: FrozenTrunk, percentile: float) -> None:
    with pytest.raises(InputError, match=f"percentile {percentile} must be above 50"):
        calibrate(trunk, [_images()], percentile=percentile)


def test_calibration_without_images_is_refused(trunk: FrozenTrunk) -> None:
    with pytest.raises(InputError, match="calibration needs at least one image"):
        calibrate(trunk, [])


def test_only_what_the_recipe_says_is_rounded(trunk: FrozenTrunk) -> None:
    images = _images()
    ranges = calibrate(trunk, [images])
    exact = trunk(images)
    nothing = static_trunk(trunk, StaticRecipe(ranges, list(ranges)))
    assert nothing(images).equal(exact)
    for name in ranges:
        rounded = static_trunk(trunk, StaticRecipe({name: ranges[name]}))
        assert not rounded(images).equal(exact)
    assert trunk(images).equal(exact)  # the given trunk is left as it was


def test_a_layer_is_its_input_and_its_weight_rounded(trunk: FrozenTrunk) -> None:
    rounded = static_trunk(trunk, StaticRecipe({"blocks.1.fc2": TensorRange(-1.0, 2.0)}))
    before, after = trunk.layers["blocks.1.fc2"], rounded.layers["blocks.1.fc2"]
    x = torch.randn(3, 128)
    scale = before.weight.abs().amax(dim=1, keepdim=True) / 127
    weight = (before.weight / scale).round() * scale
    expected = _by_hand(x, -1.0, 2.0) @ weight.T + before.bias
    torch.testing.assert_close(after(x), expected, atol=1e-5, rtol=1e-5)


def test_an_output_is_rounded_and_its_layer_is_not(trunk: FrozenTrunk) -> None:
    rounded = static_trunk(trunk, StaticRecipe({"blocks.1.fc2.output": TensorRange(-1.0, 2.0)}))
    x = torch.randn(3, 128)
    expected = _by_hand(trunk.layers["blocks.1.fc2"](x), -1.0, 2.0)
    torch.testing.assert_close(rounded.layers["blocks.1.fc2"](x), expected, atol=1e-6, rtol=1e-6)


def test_the_residual_stream_is_rounded_where_it_is_summed(trunk: FrozenTrunk) -> None:
    # The last layer's stream is rounded to 0, and what follows is the norm of zeros: its shift.
    rounded = static_trunk(trunk, StaticRecipe({"blocks.2.mlp_sum": TensorRange(0.0, 1e30)}))
    torch.testing.assert_close(rounded(_images()), trunk.norm.bias.expand(2, -1))


def test_more_rounding_is_further_away(trunk: FrozenTrunk) -> None:
    images = _images(8)
    ranges = calibrate(trunk, [images])
    exact = trunk(images)

    def error(names: list[str]) -> float:
        recipe = StaticRecipe({name: ranges[name] for name in names})
        return (static_trunk(trunk, recipe)(images) - exact).norm().item() / exact.norm().item()

    layers, everything = error(roundable(trunk, layers_only=True)), error(roundable(trunk))
    assert 0 < layers < everything < 0.5


@pytest.mark.parametrize(
    "recipe",
    [
        StaticRecipe({"blocks.3.fc1": TensorRange(0, 1)}),
        StaticRecipe({}, ["blocks.3.fc1"]),
    ],
)
def test_a_recipe_of_another_trunk_is_refused(trunk: FrozenTrunk, recipe: StaticRecipe) -> None:
    with pytest.raises(
        InputError,
        match=r"'blocks\.3\.fc1' cannot be rounded in vit_micro_patch8_32; right would be "
        r"patch_embed, patch_embed\.output and so on to blocks\.2\.mlp_sum",
    ):
        static_trunk(trunk, recipe)


def test_an_int8_trunk_is_refused(backbone: Backbone) -> None:
    with pytest.raises(InputError, match="is in int8; static int8 is made from one in fp32"):
        static_trunk(FrozenTrunk(backbone, "int8"), StaticRecipe({}))
