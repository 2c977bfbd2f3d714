"""The backbone against timm, and its prefix attention against loops over single numbers."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError

timm = import_timm()

MICRO = "vit_micro_patch8_32"


def _random_vit(name: str, **arguments: Any) -> Any:
    """A timm model of which every parameter matters: layer scales are not near 0, tokens differ."""
    vit = timm.create_model(name, **arguments).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


def _timm_features(vit: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = vit.forward_head(vit.forward_features(images), pre_logits=True)
    return features


def _micro(dtype: torch.dtype = torch.float32, **arguments: Any) -> Backbone:
    return Backbone(MICRO, _random_vit(MICRO, **arguments), dtype)


def _images(count: int, size: int = 32, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (MICRO, {}),
        ("vit_tiny_patch16_224", {"img_size": 64}),
        ("vit_small_patch32_224", {"img_size": 64}),
        ("deit_tiny_patch16_224", {"img_size": 64}),
        ("deit_tiny_distilled_patch16_224", {"img_size": 64}),
        ("deit3_small_patch16_224", {"img_size": 64}),
        ("vit_small_patch14_dinov2", {"img_size": 56}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),
        ("vit_xsmall_patch16_clip_224", {"img_size": 64}),
        ("vit_wee_patch16_reg1_gap_256", {"img_size": 64}),
        ("vit_tiny_patch16_224", {"img_size": 64, "qk_norm": True, "scale_attn_norm": True}),
        ("vit_tiny_patch16_224", {"img_size": 64, "mlp_layer": timm.layers.SwiGLUPacked}),
    ],
)
def test_without_prefixes_features_are_timms(name: str, arguments: dict[str, Any]) -> None:
    vit = _random_vit(name, depth=3, num_classes=5, **arguments)
    images = _images(2, arguments.get("img_size", 32))
    expected = _timm_features(vit, images)
    backbone = Backbone(name, vit)
    assert expected.shape == (2, backbone.dim)
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=0)


def _loop_attention(
    attention: Any, tokens: NDArray[np.float64], prefix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Attention of one image, head by head and query by query: tokens [N, D], prefix [2, L, D]."""
    weight, bias = attention.qkv.weight.numpy(), attention.qkv.bias.numpy()
    dim = tokens.shape[1]
    width = dim // attention.num_heads
    result = np.zeros_like(tokens)
    for head in range(attention.num_heads):
        columns = slice(head * width, (head + 1) * width)
        query, key, value = (
            tokens @ weight[part * dim : (part + 1) * dim][columns].T
            + bias[part * dim : (part + 1) * dim][columns]
            for part in range(3)
        )
        query = attention.q_norm(torch.from_numpy(query)).numpy()
        key = attention.k_norm(torch.from_numpy(key)).numpy()
        keys = [*prefix[0, :, columns], *key]
        values = [*prefix[1, :, columns], *value]
        for position, q in enumerate(query):
            scores = [math.exp(float(q @ k) / math.sqrt(width)) for k in keys]
            for score, v in zip(scores, values, strict=True):
                result[position, columns] += score / sum(scores) * v
    projection: NDArray[np.float64] = attention.proj.weight.numpy()
    return result @ projection.T + attention.proj.bias.numpy()


@pytest.mark.parametrize("qk_norm", [False, True])
def test_prefix_attention_equals_loops_over_single_numbers(qk_norm: bool) -> None:
    backbone = _micro(torch.float64, depth=1, qk_norm=qk_norm, init_values=0.5)
    images = _images(3, dtype=torch.float64)
    prefix = torch.randn(3, 2, 5, backbone.dim, dtype=torch.float64)

    vit = backbone.vit
    block = vit.blocks[0]
    tokens = vit._pos_embed(vit.patch_embed(images))
    attended = [
        torch.from_numpy(_loop_attention(block.attn, x.numpy(), p.numpy()))
        for x, p in zip(block.norm1(tokens), prefix, strict=True)
    ]
    tokens = tokens + block.ls1(torch.stack(attended))
    tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
    expected = vit.norm(tokens)[:, 0]

    torch.testing.assert_close(backbone(images, {0: prefix}), expected, atol=1e-12, rtol=1e-12)


def test_a_shared_prefix_acts_alike_on_every_image() -> None:
    # The trap of DualPrompt's public code: a reshape in place of a permute gives one half of the
    # batch the keys as keys and values, and the other half the values.
    backbone = _micro(torch.float64)
    image = _images(1, dtype=torch.float64)
    shared = torch.randn(1, 2, 5, backbone.dim, dtype=torch.float64)
    prefixes = {0: shared, 3: 2 * shared}
    alone = backbone(image, prefixes)
    four = backbone(image.expand(4, -1, -1, -1), prefixes)
    torch.testing.assert_close(four, alone.expand(4, -1), atol=1e-12, rtol=1e-12)
    repeated = {layer: prefix.repeat(4, 1, 1, 1) for layer, prefix in prefixes.items()}
    four = backbone(image.expand(4, -1, -1, -1), repeated)
    torch.testing.assert_close(four, alone.expand(4, -1), atol=1e-12, rtol=1e-12)


def test_each_image_has_its_own_prefix() -> None:
    backbone = _micro(torch.float64)
    images = _images(3, dtype=torch.float64)
    prefix = torch.randn(3, 2, 5, backbone.dim, dtype=torch.float64)
    together = backbone(images, {2: prefix})
    for row in range(3):
        alone = backbone(images[row : row + 1], {2: prefix[row : row + 1]})
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-12, rtol=1e-12)


def test_a_prefix_acts_at_its_own_layer() -> None:
    backbone = _micro()
    images = _images(2)
    prefix = torch.randn(1, 2, 5, backbone.dim)
    features = [backbone(images, {layer: prefix}) for layer in range(backbone.depth)]
    features.append(backbone(images))
    for first in range(len(features)):
        for second in range(first):
            assert not torch.allclose(features[first], features[second], atol=1e-3)


@pytest.mark.parametrize("layer", [-1, 6])
def test_a_prefix_for_no_layer_is_refused(layer: int) -> None:
    backbone = _micro()
    with pytest.raises(InputError, match=f"prefix layer {layer} of {MICRO} must lie in 0 to 5"):
        backbone(_images(1), {layer: torch.zeros(1, 2, 5, backbone.dim)})


def test_gradients_to_prefixes_are_the_numerical_ones() -> None:
    backbone = _micro(torch.float64, depth=2)
    images = _images(2, dtype=torch.float64)
    shared = torch.randn(1, 2, 3, backbone.dim, dtype=torch.float64, requires_grad=True)
    own = torch.randn(2, 2, 2, backbone.dim, dtype=torch.float64, requires_grad=True)

    def features(first: Tensor, second: Tensor) -> Tensor:
        return backbone(images, {0: first, 1: second})

    assert torch.autograd.gradcheck(features, (shared, own), fast_mode=True)


@pytest.mark.parametrize(
    ("dtype", "agreement"), [(torch.float32, 1 - 1e-6), (torch.bfloat16, 0.99)]
)
def test_gradients_agree_with_those_in_double(dtype: torch.dtype, agreement: float) -> None:
    vit = _random_vit(MICRO)
    images = _images(4)
    prefix = torch.randn(4, 2, 5, 64, requires_grad=True)
    target = torch.randn(4, 64)

    def gradient(precision: torch.dtype) -> Tensor:
        features = Backbone(MICRO, copy.deepcopy(vit), precision)(images, {1: prefix})
        (result,) = torch.autograd.grad((features * target).sum(), prefix)
        return result

    computed = gradient(dtype)
    assert computed.dtype == torch.float32
    exact = gradient(torch.float64)
    assert torch.cosine_similarity(computed.flatten(), exact.flatten(), dim=0) > agreement
    assert computed.norm() == pytest.approx(exact.norm().item(), rel=1 - agreement)


def test_bfloat16_features_are_close_and_single() -> None:
    vit = _random_vit("vit_small_patch14_reg4_dinov2", img_size=56, depth=4)
    images = _images(4, 56)
    prefixes = {1: torch.randn(1, 2, 5, 384)}
    exact = Backbone("dinov2", copy.deepcopy(vit))(images, prefixes)
    low = Backbone("dinov2", vit, torch.bfloat16)
    features = low(images, prefixes)
    assert low.dtype == torch.bfloat16
    assert features.dtype == torch.float32
    assert torch.cosine_similarity(features, exact).min() > 0.999
    assert not torch.equal(features, exact)


def test_the_trunk_is_frozen_and_stays_in_evaluation() -> None:
    vit = _random_vit(MICRO, drop_rate=0.5, proj_drop_rate=0.5, drop_path_rate=0.5)
    images = _images(2)
    expected = _timm_features(vit, images)
    backbone = Backbone(MICRO, vit)
    nn.Sequential(backbone).train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=0)


def test_what_a_backbone_says_of_itself() -> None:
    backbone = load_backbone("deit_tiny_distilled_patch16_224", image_size=96, pretrained=False)
    assert backbone.name == "deit_tiny_distilled_patch16_224"
    assert (backbone.dim, backbone.depth, backbone.heads, backbone.head_dim) == (192, 12, 3, 64)
    assert backbone.image_size == 96
    assert backbone.preprocessing == Preprocessing(
        image_size=96,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
        crop_pct=0.9,
    )


def test_the_weights_have_one_fingerprint_in_every_precision() -> None:
    def weights(dtype: torch.dtype) -> str:
        torch.manual_seed(4)
        return _micro(dtype).weights_fingerprint

    assert weights(torch.bfloat16) == weights(torch.float64) == weights(torch.float32)
    torch.manual_seed(4)
    vit = _random_vit(MICRO)
    with torch.no_grad():
        vit.cls_token[0, 0, 0] += 0.5
    assert Backbone(MICRO, vit).weights_fingerprint != weights(torch.float32)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vit_base_patch16_224", 85_798_656),
        ("vit_small_patch16_224", 21_665_664),
        ("vit_tiny_patch16_224", 5_524_416),
        # DeiT-Ti distilled: ViT-Ti, one more token and one more row of position embedding.
        ("deit_tiny_distilled_patch16_224", 5_524_416 + 2 * 192),
    ],
)
def test_parameters_are_counted_without_the_heads(name: str, published: int) -> None:
    with torch.device("meta"):
        backbone = Backbone(name, timm.create_model(name))
    assert backbone.parameters_without_head == published


def test_the_program_can_be_exported_with_prefixes() -> None:
    backbone = _micro()
    arguments = (_images(2), {0: torch.randn(1, 2, 5, 64), 2: torch.randn(2, 2, 3, 64)})
    program = torch.export.export(backbone, arguments, strict=False)
    other = (_images(2), {layer: torch.randn_like(p) for layer, p in arguments[1].items()})
    torch.testing.assert_close(program.module()(*other), backbone(*other))


def test_the_gradient_can_be_traced() -> None:
    backbone = _micro()

    def gradient(images: Tensor, prefix: Tensor) -> Tensor:
        prefix = prefix.detach().requires_grad_()
        loss = backbone(images, {1: prefix}).square().sum()
        return torch.autograd.grad(loss, prefix)[0]

    traced = make_fx(gradient)(_images(2), torch.randn(1, 2, 5, 64))
    images, prefix = _images(2), torch.randn(1, 2, 5, 64)
    torch.testing.assert_close(traced(images, prefix), gradient(images, prefix))


def test_the_real_vit_tiny(vit_tiny_weights: Path) -> None:
    backbone = load_backbone("vit_tiny_patch16_224", vit_tiny_weights)
    vit = timm.create_model("vit_tiny_patch16_224").eval()
    vit.load_state_dict(load_file(vit_tiny_weights), strict=True)
    images = _images(2, 224)
    # Its features reach 15, so that 1e-5 of the largest is about ten units in the last place. The
    # fused kernel sums in another order; without it timm does just what the backbone does.
    fused = _timm_features(vit, images)
    torch.testing.assert_close(
        backbone(images), fused, atol=1e-5 * fused.abs().max().item(), rtol=0
    )
    for block in vit.blocks:
        block.attn.fused_attn = False
    torch.testing.assert_close(backbone(images), _timm_features(vit, images), atol=1e-5, rtol=0)
    assert backbone.parameters_without_head == 5_524_416
    assert backbone.preprocessing.mean == backbone.preprocessing.std == (0.5, 0.5, 0.5)
