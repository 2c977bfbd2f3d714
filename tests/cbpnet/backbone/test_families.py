"""Each family against timm's own forward pass, and gradients to prefixes against plain loops."""

import ast
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone.presets import check_budget, choose_preset, count_trainables
from cbpnet.backbone.served import FAMILIES, family_of
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.host.errors import InputError

timm = import_timm()

ROOT = Path(__file__).resolve().parents[3]

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4, "img_size": 64, "num_classes": 5}
ROTARY = [
    ("vit_small_patch16_dinov3", {}),  # biases of queries and values, registers, LayerScale
    ("vit_small_patch16_dinov3", {"dynamic_img_size": True}),
    ("vit_tiny_patch16_dinov3_qkvb", {}),
    ("vit_small_plus_patch16_dinov3", {}),  # SwiGLU of two layers
    ("vit_base_patch16_lingbot", {}),
    ("vit_small_patch16_rope_224", {}),  # neighbours are pairs
    ("vit_small_patch16_rope_ape_224", {}),
    ("vit_small_patch16_rope_mixed_224", {"embed_dim": 96}),  # learnt, of each layer and head
    ("vit_betwixt_patch16_rope_reg4_gap_256", {}),
    ("eva_giant_patch14_224", {"img_size": 56}),  # nothing rotates
    ("eva02_tiny_patch14_224", {"img_size": 56}),  # SwiGLU in one layer
    ("eva02_base_patch14_224", {"img_size": 56}),  # queries, keys and values apart
    ("eva02_base_patch16_clip_224", {}),  # norms inside attention and MLP
    ("vit_pe_core_tiny_patch16_384", {}),  # attention pooling
    ("vit_pe_spatial_tiny_patch16_512", {}),  # no norm at the end
]
POOLED = [
    ("vit_base_patch16_siglip_224", {}),
    ("vit_so150m_patch16_reg4_map_256", {}),  # the registers are not pooled
    ("test_vit3", {"embed_dim": 96}),
]


def _random_model(name: str, **arguments: Any) -> Any:
    """A small timm model of which every parameter matters."""
    model = timm.create_model(name, **(SMALL | arguments)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _images(model: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, *model.patch_embed.img_size, dtype=dtype)


@pytest.mark.parametrize(("name", "arguments"), ROTARY + POOLED)
def test_without_prefixes_features_are_timms(name: str, arguments: dict[str, Any]) -> None:
    model = _random_model(name, **arguments)
    images = _images(model)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    backbone = Backbone(name, model)
    assert backbone.dim == expected.shape[1]
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-5)


def test_the_features_of_a_whole_dinov3_are_timms() -> None:
    name = "vit_small_patch16_dinov3"
    backbone = load_backbone(name, pretrained=False)
    images = _images(backbone.vit)
    with torch.no_grad():
        expected = backbone.vit.forward_head(backbone.vit.forward_features(images), pre_logits=True)
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-5)
    assert (backbone.dim, backbone.depth, backbone.heads, backbone.image_size) == (384, 12, 6, 256)


def _rotated(x: Tensor, angles: Tensor, halves: bool) -> Tensor:
    """Rotate [M, d] one pair of numbers after another; angles [M, d] are of each entry."""
    result = torch.zeros_like(x)
    width = x.shape[1]
    for pair in range(width // 2):
        a, b = (pair, pair + width // 2) if halves else (2 * pair, 2 * pair + 1)
        cosine, sine = angles[:, a].cos(), angles[:, a].sin()
        result[:, a] = x[:, a] * cosine - x[:, b] * sine
        result[:, b] = x[:, b] * cosine + x[:, a] * sine
    return result


def _plain_attention(attention: Any, tokens: Tensor, prefix: Tensor, angles: Tensor) -> Tensor:
    """Return one image's attention head by head; ``angles`` [heads, N, d] are of all its tokens."""
    query, key, value = attention.qkv(tokens).chunk(3, dim=1)
    if getattr(attention, "q_bias", None) is not None:
        query, value = query + attention.q_bias, value + attention.v_bias
    heads = []
    split = (part.chunk(attention.num_heads, dim=1) for part in (query, key, value, *prefix))
    for turn, (q, k, v, before_k, before_v) in zip(angles, zip(*split, strict=True), strict=True):
        q, k = (_rotated(part, turn, attention.rotate_half) for part in (q, k))
        scores = q @ torch.cat([before_k, k]).T / math.sqrt(q.shape[1])
        heads.append(torch.softmax(scores, dim=1) @ torch.cat([before_v, v]))
    return attention.proj(torch.cat(heads, dim=1))


def _dinov3_angles(model: Any) -> Tensor:
    """DINOv3's angles [1, N, d] from its formula: coordinates within ±1, over 100^(4 i / d)."""
    rows, columns = model.patch_embed.grid_size
    width = model.embed_dim // model.blocks[0].attn.num_heads
    periods = 100.0 ** (4 * torch.arange(width // 4, dtype=torch.float64) / width)
    places = []
    for row in range(rows):
        for column in range(columns):
            y, x = 2 * (row + 0.5) / rows - 1, 2 * (column + 0.5) / columns - 1
            half = torch.cat([2 * math.pi * y / periods, 2 * math.pi * x / periods])
            places.append(torch.cat([half, half]))
    none = torch.zeros(model.num_prefix_tokens, width, dtype=torch.float64)
    return torch.cat([none, torch.stack(places)])[None]


def _axial_angles(model: Any) -> Tensor:
    """RoPE-ViT's and EVA's angles [1, N, d]: row, then column, over their base^(4 i / d)."""
    rows, columns = model.patch_embed.grid_size
    width = model.embed_dim // model.blocks[0].attn.num_heads
    rope = model.rope
    bands = 1 / rope.temperature ** (4 * torch.arange(width // 4, dtype=torch.float64) / width)
    places = []
    for row in range(rows):
        for column in range(columns):
            first, second = (column, row) if rope.grid_indexing == "xy" else (row, column)
            half = torch.cat([first * bands, second * bands])
            places.append(half.repeat_interleave(2))
    none = torch.zeros(model.num_prefix_tokens, width, dtype=torch.float64)
    return torch.cat([none, torch.stack(places)])[None]


def _plain_rotary(model: Any, image: Tensor, prefix: dict[int, Tensor], angles: Tensor) -> Tensor:
    """Return one image's tokens [N, D] after the final norm."""
    patches = model.patch_embed.proj(image[None]).flatten(2)[0].T
    others = [model.cls_token[0]] + ([] if model.reg_token is None else [model.reg_token[0]])
    if model.pos_embed is not None:
        patches = patches + model.pos_embed[0]  # of patches alone in the models below
    tokens = torch.cat([*others, patches])
    heads = model.blocks[0].attn.num_heads
    for index, block in enumerate(model.blocks):
        nothing = tokens.new_zeros(2, 0, tokens.shape[1])
        attended = _plain_attention(
            block.attn,
            block.norm1(tokens),
            prefix.get(index, nothing),
            angles.expand(heads, -1, -1),
        )
        tokens = tokens + block.gamma_1 * attended
        hidden = F.gelu(block.mlp.fc1(block.norm2(tokens)))
        tokens = tokens + block.gamma_2 * block.mlp.fc2(hidden)
    return model.norm(tokens)


def _prefixes(backbone: Backbone) -> dict[int, Tensor]:
    return {
        layer: torch.randn(1, 2, length, backbone.dim, dtype=torch.float64, requires_grad=True)
        for layer, length in ((0, 3), (1, 2))
    }


def _agree(backbone: Backbone, prefixes: dict[int, Tensor], found: Tensor, right: Tensor) -> None:
    """Features and their gradients to prefixes, within what fp32 angles leave."""
    torch.testing.assert_close(found, right, atol=1e-5, rtol=1e-5)
    target = torch.randn_like(right)
    for ours, wanted in zip(
        torch.autograd.grad((found * target).sum(), list(prefixes.values())),
        torch.autograd.grad((right * target).sum(), list(prefixes.values())),
        strict=True,
    ):
        bound = 1e-5 * wanted.abs().max().item()
        torch.testing.assert_close(ours, wanted, atol=bound, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "angles"),
    [
        ("vit_small_patch16_dinov3", _dinov3_angles),
        ("vit_small_patch16_rope_224", _axial_angles),
        ("vit_small_patch16_rope_ape_224", _axial_angles),
    ],
)
def test_rotated_attention_with_prefixes_equals_plain_loops(name: str, angles: Any) -> None:
    model = _random_model(name, qk_norm=False)
    backbone = Backbone(name, model, torch.float64)
    images, prefixes = _images(model, torch.float64), _prefixes(backbone)
    alone = {layer: prefix[0] for layer, prefix in prefixes.items()}
    tokens = [_plain_rotary(model, image, alone, angles(model)) for image in images]
    extra = model.num_prefix_tokens if model.global_pool == "avg" else 0
    pooled = [each[extra:].mean(0) if extra else each[0] for each in tokens]
    _agree(backbone, prefixes, backbone(images, prefixes), torch.stack(pooled))


def test_pooling_by_attention_with_prefixes_equals_plain_loops() -> None:
    name = "vit_base_patch16_siglip_224"
    model = _random_model(name)
    backbone = Backbone(name, model, torch.float64)
    images, prefixes = _images(model, torch.float64), _prefixes(backbone)
    pool, features = model.attn_pool, []
    for image in images:
        tokens = model.patch_embed.proj(image[None]).flatten(2)[0].T + model.pos_embed[0]
        for index, block in enumerate(model.blocks):
            query, key, value = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=1)
            key, value = (
                torch.cat(pair) for pair in zip(prefixes[index][0], (key, value), strict=True)
            )
            tokens = tokens + block.attn.proj(_heads_mixed(query, key, value, 4))
            tokens = tokens + block.mlp(block.norm2(tokens))
        key, value = pool.kv(model.norm(tokens)).chunk(2, dim=1)
        pooled = pool.proj(_heads_mixed(pool.q(pool.latent[0]), key, value, 4))
        features.append((pooled + pool.mlp(pool.norm(pooled)))[0])
    _agree(backbone, prefixes, backbone(images, prefixes), torch.stack(features))


def _heads_mixed(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    split = (part.chunk(heads, dim=1) for part in (query, key, value))
    mixed = [
        torch.softmax(q @ k.T / math.sqrt(q.shape[1]), dim=1) @ v
        for q, k, v in zip(*split, strict=True)
    ]
    return torch.cat(mixed, dim=1)


def test_in_bfloat16_angles_stay_exact() -> None:
    name = "vit_small_patch16_dinov3"
    model = _random_model(name)
    images = _images(model)
    exact = Backbone(name, model)(images)
    low = Backbone(name, model, torch.bfloat16)
    features = low(images)
    assert low.architecture.layers[0].attention.rotation.cosine.dtype == torch.float32
    assert features.dtype == torch.float32
    assert torch.cosine_similarity(features, exact).min() > 0.999


@pytest.mark.parametrize(
    "name",
    [
        "vit_small_patch16_dinov3",
        "vit_base_patch16_dinov3",
        "eva02_tiny_patch14_224",
        "vit_base_patch16_siglip_224",
        "vit_so400m_patch14_siglip_224",
    ],
)
def test_a_preset_keeps_the_budget(name: str) -> None:
    with torch.device("meta"):
        backbone = load_backbone(name, pretrained=False)
    size = backbone.parameters_without_head
    preset = choose_preset(name, backbone.dim, backbone.depth, size)
    for adaptation in ("auto", "cbpnet"):
        budget = count_trainables(preset.config(adaptation), backbone.dim, size)
        check_budget(budget, 0.002)
        assert 0 < budget.share <= 0.002


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("eva02_enormous_patch14_clip_224", "its layers are EvaBlockPostNorm, not EvaBlock"),
        ("vit_base_patch16_sapiens2", r"its images \(1024, 768\) or patches .* are not square"),
    ],
)
def test_what_no_adapter_describes_is_refused(name: str, reason: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=f"'{name}' .*: {reason}"):
        load_backbone(name, pretrained=False)


def test_a_change_that_an_adapter_does_not_know_is_refused() -> None:
    model = _random_model("vit_small_patch16_dinov3")
    model.blocks[1].attn.gate = torch.nn.Linear(48, 48)
    with pytest.raises(InputError, match="its attention is gated"):
        family_of("dinov3", model)
    shared = _random_model(
        "vit_small_patch16_rope_224", qkv_fused=False, num_kv_heads=2, scale_attn_inner=False
    )
    with pytest.raises(InputError, match="share one of keys and values"):
        family_of("rope", shared)
    pooled = _random_model("vit_base_patch16_siglip_224")
    pooled.attn_pool.latent_len = 2
    with pytest.raises(InputError, match="more queries than one"):
        family_of("siglip", pooled)


@pytest.mark.parametrize(
    ("names", "file"),
    [
        ({"Eva", "EvaBlock", "EvaAttention", "AttentionRope"}, "rotary.py"),
        ({"AttentionPoolLatent"}, "attention_pooled.py"),
        ({"VisionTransformerDistilled", "Block"}, "plain.py"),
    ],
)
def test_a_familys_file_alone_names_its_classes_of_timm(names: set[str], file: str) -> None:
    """So that a family is one file, and its row in the table."""
    found = {
        path.name
        for package in ("cbpnet", "quantize", "mobile")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in names
    }
    assert found == {file}


def test_every_family_is_a_row_of_the_table() -> None:
    files = (ROOT / "cbpnet" / "backbone" / "families").glob("*.py")
    assert len(FAMILIES) == len({path.stem for path in files} - {"__init__", "parts"})
