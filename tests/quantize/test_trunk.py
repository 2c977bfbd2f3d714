"""The frozen trunk against the backbone it is made from, in double precision, and against timm."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.host.errors import InputError
from quantize.trunk import FrozenTrunk

timm = import_timm()

MICRO = "vit_micro_patch8_32"
TINY = "vit_tiny_patch16_224"


def _random_vit(name: str, **arguments: Any) -> Any:
    """A timm model of which every parameter matters: layer scales are not near 0, tokens differ."""
    vit = timm.create_model(name, **{"depth": 3, "num_classes": 5} | arguments).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


def _backbone(name: str = MICRO, **arguments: Any) -> Backbone:
    return Backbone(name, _random_vit(name, **arguments))


def _prefixes(backbone: Backbone, images: int, dtype: torch.dtype) -> dict[int, Tensor]:
    """A prefix of the whole batch at the first layer and one of each image's own at the last."""
    shapes = {0: (1, 2, 5, backbone.dim), backbone.depth - 1: (images, 2, 3, backbone.dim)}
    return {
        layer: torch.randn(shape, dtype=dtype, requires_grad=True)
        for layer, shape in shapes.items()
    }


ARCHITECTURES = [
    (MICRO, {}),
    (TINY, {"img_size": 64}),
    ("vit_small_patch32_224", {"img_size": 64}),
    ("deit_tiny_patch16_224", {"img_size": 64}),
    ("deit_tiny_distilled_patch16_224", {"img_size": 64}),
    ("deit3_small_patch16_224", {"img_size": 64}),  # LayerScale, no_embed_class
    ("vit_small_patch14_dinov2", {"img_size": 56}),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),
    ("vit_xsmall_patch16_clip_224", {"img_size": 64}),  # a norm before the first layer
    ("vit_wee_patch16_reg1_gap_256", {"img_size": 64}),  # average pooling, one register
    (TINY, {"img_size": 64, "global_pool": "avg"}),  # fc_norm after the pooling
    (TINY, {"img_size": 64, "global_pool": "avg", "pool_include_prefix": True, "fc_norm": False}),
    (TINY, {"img_size": 64, "qk_norm": True}),
    (TINY, {"img_size": 64, "scale_attn_norm": True, "scale_mlp_norm": True}),
    (TINY, {"img_size": 64, "qkv_bias": False, "proj_bias": False, "init_values": 0.5}),
    (TINY, {"img_size": 64, "final_norm": False, "pos_embed": "none"}),
    (TINY, {"img_size": 64, "embed_norm_layer": nn.LayerNorm}),
    (TINY, {"img_size": 64, "act_layer": "gelu"}),  # timm's class in place of torch's
    (TINY, {"img_size": 64, "act_layer": "gelu_tanh"}),
    (TINY, {"img_size": 64, "act_layer": partial(nn.GELU, approximate="tanh")}),
    (TINY, {"img_size": 64, "act_layer": "quick_gelu"}),
    (TINY, {"img_size": 64, "dynamic_img_size": True}),
    (TINY, {"img_size": 64, "mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU}),
    (TINY, {"img_size": 64, "mlp_layer": timm.layers.GluMlp, "act_layer": nn.SiLU}),
    (TINY, {"img_size": 64, "mlp_layer": timm.layers.SwiGLU, "act_layer": nn.SiLU}),
]


@pytest.mark.parametrize(("name", "arguments"), ARCHITECTURES)
def test_features_and_prefix_gradients_are_the_backbones(
    name: str, arguments: dict[str, Any]
) -> None:
    backbone = _backbone(name, **arguments)
    trunk = FrozenTrunk(backbone, "fp32").double()
    exact = Backbone(name, copy.deepcopy(backbone.vit), torch.float64)
    images = torch.randn(2, 3, backbone.image_size, backbone.image_size, dtype=torch.float64)
    prefixes = _prefixes(backbone, 2, torch.float64)
    target = torch.randn(2, backbone.dim, dtype=torch.float64)

    features, expected = trunk(images, prefixes), exact(images, prefixes)
    assert features.shape == (2, backbone.dim)
    # The layers are folded in fp32; all else is computed in fp64.
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    found, wanted = (
        torch.autograd.grad((output * target).sum(), list(prefixes.values()))
        for output in (features, expected)
    )
    for gradient, right in zip(found, wanted, strict=True):
        bound = 1e-5 * right.abs().max().item()
        torch.testing.assert_close(gradient, right, atol=bound, rtol=1e-5)


@pytest.mark.parametrize(("name", "arguments"), ARCHITECTURES)
def test_without_prefixes_features_are_timms(name: str, arguments: dict[str, Any]) -> None:
    vit = _random_vit(name, **arguments)
    images = torch.randn(2, 3, *vit.patch_embed.img_size)
    with torch.no_grad():
        expected = vit.forward_head(vit.forward_features(images), pre_logits=True)
    features = FrozenTrunk(Backbone(name, vit), "fp32")(images)
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [({}, False), ({"final_norm": False}, True), ({"global_pool": "avg"}, False)],
)
def test_the_residual_streams_mean_is_kept_only_where_it_is_read(
    arguments: dict[str, Any], kept: bool
) -> None:
    trunk = FrozenTrunk(_backbone(**arguments), "fp32")
    means: list[Tensor] = []
    for block in trunk.blocks:
        block.register_forward_hook(lambda _, __, tokens: means.append(tokens.mean(dim=-1)))
    trunk(torch.randn(2, 3, 32, 32))
    assert all((mean.abs().max() > 1e-2) == kept for mean in means)
    assert kept or all(mean.abs().max() < 1e-5 for mean in means)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_prefix_acts_at_its_own_layer(layer: int) -> None:
    backbone = _backbone()
    trunk = FrozenTrunk(backbone, "fp32")
    images, prefix = torch.randn(2, 3, 32, 32), torch.randn(1, 2, 5, 64)
    expected = backbone(images, {layer: prefix})
    torch.testing.assert_close(trunk(images, {layer: prefix}), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(expected, backbone(images), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (MICRO, {}),
        (TINY, {"img_size": 64, "qk_norm": True}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),
        ("eva02_tiny_patch14_224", {"img_size": 56}),  # rotary, of neighbouring pairs
    ],
)
def test_attention_received_is_the_backbones(name: str, arguments: dict[str, Any]) -> None:
    backbone = _backbone(name, **arguments)
    trunk = FrozenTrunk(backbone, "fp32")
    images = torch.randn(2, 3, backbone.image_size, backbone.image_size)
    prefixes = {
        0: torch.randn(1, 2, 5, backbone.dim, requires_grad=True),
        1: torch.randn(2, 2, 3, backbone.dim, requires_grad=True),
    }
    features, received = trunk.with_attention(images, prefixes)
    _, expected = backbone.with_attention(images, prefixes)
    assert features.equal(trunk(images, prefixes))
    assert received.keys() == expected.keys()
    for layer, masses in expected.items():
        assert not received[layer].requires_grad
        torch.testing.assert_close(received[layer], masses, atol=1e-5, rtol=1e-4)


def test_views_of_images_and_prefixes_are_taken() -> None:
    backbone = _backbone()
    trunk = FrozenTrunk(backbone, "fp32")
    images = torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)
    prefix = torch.randn(1, 5, 2, 64).transpose(1, 2)
    expected = trunk(images.contiguous(), {1: prefix.contiguous()})
    torch.testing.assert_close(trunk(images, {1: prefix}), expected)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_backbone_is_left_as_it_was(precision: Any) -> None:
    backbone = _backbone()
    before = copy.deepcopy(backbone.state_dict())
    trunk = FrozenTrunk(backbone, precision)
    trunk.half()
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name].dtype == torch.float32
        assert after[name].equal(value)


def test_int8_is_close_and_not_the_same() -> None:
    backbone = _backbone(TINY, img_size=64)
    images = torch.randn(4, 3, 64, 64)
    exact, rounded = FrozenTrunk(backbone, "fp32")(images), FrozenTrunk(backbone, "int8")(images)
    assert torch.cosine_similarity(exact, rounded).min() > 0.995
    assert not torch.allclose(exact, rounded, atol=1e-3)


@pytest.mark.parametrize("size", [1e-6, 1e-12, 1e-20])
def test_small_gradients_pass_int8_layers(size: float) -> None:
    backbone = _backbone(TINY, img_size=64)
    trunk = FrozenTrunk(backbone, "int8")
    prefixes = _prefixes(backbone, 2, torch.float32)
    features = trunk(torch.randn(2, 3, 64, 64), prefixes)
    target = torch.randn(2, backbone.dim)
    of_one, small = (
        torch.autograd.grad(features, list(prefixes.values()), factor * target, retain_graph=True)
        for factor in (1.0, size)
    )
    for gradient, expected in zip(small, of_one, strict=True):
        # The last digit decides to which of two steps a value in the middle goes.
        bound = 1e-2 * expected.abs().max().item()
        torch.testing.assert_close(gradient / size, expected, atol=bound, rtol=1e-2)


def test_the_real_vit_tiny_with_its_massive_activations(vit_tiny_weights: Path) -> None:
    backbone = load_backbone(TINY, vit_tiny_weights)
    coarse = torch.rand(2, 3, 7, 7)
    images = 2 * nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic") - 1
    prefix = torch.randn(1, 2, 5, 192, requires_grad=True)
    target = torch.randn(2, 192)
    expected = backbone(images, {2: prefix})
    (right,) = torch.autograd.grad((expected * target).sum(), prefix)
    least: dict[Any, tuple[float, float]] = {"fp32": (1 - 1e-6, 1 - 1e-6), "int8": (0.99, 0.9)}
    for precision, (of_features, of_gradients) in least.items():
        features = FrozenTrunk(backbone, precision)(images, {2: prefix})
        (gradient,) = torch.autograd.grad((features * target).sum(), prefix)
        assert torch.cosine_similarity(features, expected).min() > of_features
        cosine = torch.cosine_similarity(gradient.flatten(), right.flatten(), dim=0)
        assert cosine > of_gradients


def test_layers_that_are_kept_are_fp32_and_no_other() -> None:
    backbone = _backbone()
    kept = ["patch_embed", "blocks.1.qkv", "blocks.2.fc2"]
    trunk = FrozenTrunk(backbone, "int8", kept)
    assert list(trunk.layers) == [
        "patch_embed",
        *(f"blocks.{i}.{name}" for i in range(3) for name in ("qkv", "proj", "fc1", "fc2")),
    ]
    assert sorted(kept) == sorted(
        name for name, layer in trunk.layers.items() if layer.weight.dtype == torch.float32
    )
    for name in kept:
        assert trunk.layers[name] is trunk.get_submodule(name)
        assert trunk.layers[name].scale is None
    everything = FrozenTrunk(backbone, "int8", list(trunk.layers))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(everything(images), FrozenTrunk(backbone, "fp32")(images))


def test_nothing_in_a_trunk_is_a_parameter() -> None:
    trunk = FrozenTrunk(_backbone(), "fp32")
    assert list(trunk.parameters()) == []
    assert not any(buffer.requires_grad for buffer in trunk.buffers())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"act_layer": nn.ReLU}, r"its activation ReLU\(\) is none of gelu, gelu_tanh, quick_gelu"),
        ({"act_layer": nn.SiLU}, "its activation .*silu.* is none of gelu"),
        # Gated, with the names of the plain one's parts.
        ({"mlp_layer": timm.layers.GluMlp}, "its MLP is gated by .*gelu.*, not by SiLU"),
        ({"norm_layer": timm.layers.RmsNorm}, "its norms are RmsNorm, not LayerNorm"),
        ({"global_pool": "avgmax"}, "its pooling 'avgmax' is neither token nor avg"),
        ({"global_pool": "max"}, "its pooling 'max' is neither token nor avg"),
    ],
)
def test_what_cannot_be_lowered_is_refused(arguments: dict[str, Any], reason: str) -> None:
    backbone = _backbone(**arguments)
    with pytest.raises(InputError, match=f"backbone '{MICRO}' cannot be lowered: {reason}"):
        FrozenTrunk(backbone, "fp32")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_backbone_of_another_precision_is_refused(dtype: torch.dtype) -> None:
    backbone = Backbone(MICRO, _random_vit(MICRO), dtype)
    with pytest.raises(InputError, match=f"is in {dtype}; .* load it with torch.float32"):
        FrozenTrunk(backbone, "int8")
    assert backbone.dtype == dtype


def test_a_layer_to_keep_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=f"layer 'blocks.3.fc1' does not exist in {MICRO}; it must be one of patch_embed, "
        "blocks.0.qkv to blocks.2.fc2",
    ):
        FrozenTrunk(_backbone(), "int8", ["blocks.1.fc1", "blocks.3.fc1"])


def test_images_of_another_size_are_refused() -> None:
    trunk = FrozenTrunk(_backbone(), "fp32")
    with pytest.raises(InputError, match=r"\[2, 3, 24, 24\]; right would be \['B', 3, 32, 32\]"):
        trunk(torch.zeros(2, 3, 24, 24))


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_prefix_for_no_layer_is_refused(layer: int) -> None:
    trunk = FrozenTrunk(_backbone(), "fp32")
    with pytest.raises(InputError, match=f"prefix layer {layer} of {MICRO} must lie in 0 to 2"):
        trunk(torch.zeros(1, 3, 32, 32), {layer: torch.zeros(1, 2, 5, 64)})
