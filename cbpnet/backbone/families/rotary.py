"""Vision transformers with rotary embeddings: DINOv3 (arXiv:2508.10104), EVA, RoPE-ViT, PE.

timm builds them, and EVA-1, which has learnt positions alone, by one class.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone.architecture import (
    Architecture,
    Attention,
    AttentionPooling,
    Family,
    Layer,
    Linear,
    Pooling,
    Rotation,
)
from cbpnet.backbone.families.attention_pooled import describe_pooling, pooling_obstacle
from cbpnet.backbone.families.parts import (
    POOLINGS,
    blank_patches,
    describe_embedding,
    describe_mlp,
    embedding_obstacle,
    linear,
    mlp_obstacle,
)
from cbpnet.backbone.torchvision_compat import import_timm

__all__ = ["FAMILY"]

timm = import_timm()
eva = timm.models.eva

_ATTENTIONS = (eva.EvaAttention, timm.layers.AttentionRope)


def _obstacle(vit: Any) -> str | None:
    if (reason := embedding_obstacle(vit.patch_embed)) is not None:
        return reason
    for block in vit.blocks:
        if type(block) is not eva.EvaBlock:
            return f"its layers are {type(block).__name__}, not EvaBlock"
        if (reason := _attention_obstacle(block.attn) or mlp_obstacle(block.mlp)) is not None:
            return reason
    if vit.global_pool == "map":
        return pooling_obstacle(vit.attn_pool)
    if vit.global_pool not in POOLINGS:
        return f"its pooling {vit.global_pool!r} is none of map, {', '.join(POOLINGS)}"
    return None


def _attention_obstacle(attention: Any) -> str | None:
    if type(attention) not in _ATTENTIONS:
        return f"its attention is {type(attention).__name__}"
    if attention.gate is not None:
        return "its attention is gated"
    if getattr(attention, "num_kv_heads", attention.num_heads) != attention.num_heads:
        return "several heads of its queries share one of keys and values"
    return None


def _describe(vit: Any) -> Architecture:
    position, angles = vit._pos_embed(blank_patches(vit.patch_embed))
    # A table for all layers, or with frequencies that were learnt one for each.
    tables = angles if vit.rope_mixed else [angles] * len(vit.blocks)
    return Architecture(
        image_size=vit.patch_embed.img_size[0],
        embedding=describe_embedding(vit.patch_embed, position),
        pre_norm=vit.norm_pre,
        layers=tuple(_layer(*each) for each in zip(vit.blocks, tables, strict=True)),
        norm=vit.norm,
        pooling=_pooling(vit),
        feature_norm=vit.fc_norm,
    )


def _pooling(vit: Any) -> Pooling | AttentionPooling:
    if vit.global_pool == "map":
        return describe_pooling(vit.attn_pool, 0)
    if vit.global_pool == "token":
        return Pooling("avg", 0, 1)
    return Pooling(vit.global_pool, vit.num_prefix_tokens, None)


def _layer(block: Any, angles: Tensor | None) -> Layer:
    source = block.attn
    attention = Attention(
        heads=source.num_heads,
        scale=source.scale,
        qkv=_query_key_value(source),
        q_norm=source.q_norm,
        k_norm=source.k_norm,
        rotation=None if angles is None else _rotation(source, angles),
        norm=source.norm,
        projection=linear(source.proj),
    )
    return Layer(
        norm1=block.norm1,
        attention=attention,
        scale1=block.gamma_1,
        norm2=block.norm2,
        mlp=describe_mlp(block.mlp),
        scale2=block.gamma_2,
    )


def _query_key_value(attention: Any) -> Linear:
    """Return the one layer that timm may have in three parts, of which keys may have no bias."""
    if attention.qkv is None:
        parts = [attention.q_proj, attention.k_proj, attention.v_proj]
        weight, biases = torch.cat([part.weight for part in parts]), [part.bias for part in parts]
    else:
        weight = attention.qkv.weight
        if getattr(attention, "q_bias", None) is None:
            return Linear(weight, attention.qkv.bias)
        biases = [attention.q_bias, attention.k_bias, attention.v_bias]
    if biases[0] is None:
        return Linear(weight, None)
    missing = torch.zeros_like(biases[0])
    return Linear(weight, torch.cat([missing if bias is None else bias for bias in biases]))


def _rotation(attention: Any, angles: Tensor) -> Rotation:
    """Return the rotation by sines and cosines [N, 2 d] or [heads, N, 2 d] of the patches alone."""
    sine, cosine = (angles if angles.dim() == 3 else angles.unsqueeze(0)).chunk(2, dim=-1)
    others = (0, 0, attention.num_prefix_tokens, 0)
    neighbours = not attention.rotate_half
    return Rotation(F.pad(cosine, others, value=1.0), F.pad(sine, others), neighbours)


FAMILY = Family((eva.Eva,), _obstacle, _describe)
