"""The plain vision transformer (arXiv:2010.11929): ViT, DeiT, DeiT III, CLIP, DINO, DINOv2.

With or without register and distillation tokens, LayerScale, norms of queries and keys.
"""

from typing import Any

from torch import Tensor, nn

from cbpnet.backbone.architecture import (
    Architecture,
    Attention,
    AttentionPooling,
    Family,
    Layer,
    Pooling,
)
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

__all__ = ["FAMILY", "MODELS", "describe_with", "layers_obstacle"]

timm = import_timm()

_DISTILLED = timm.models.deit.VisionTransformerDistilled
MODELS = (timm.models.VisionTransformer, _DISTILLED)


def layers_obstacle(vit: Any) -> str | None:
    """Return what in front of the pooling is not a plain ViT's, or None."""
    if (reason := embedding_obstacle(vit.patch_embed)) is not None:
        return reason
    for block in vit.blocks:
        if type(block) is not timm.models.vision_transformer.Block:
            return f"its layers are {type(block).__name__}, not the plain Block"
        if type(block.attn) is not timm.layers.Attention:
            return f"its attention is {type(block.attn).__name__}, not the plain Attention"
        if block.attn.gate is not None:
            return "its attention is gated"
        if (reason := mlp_obstacle(block.mlp)) is not None:
            return reason
    return None


def describe_with(pooling: Pooling | AttentionPooling, vit: Any) -> Architecture:
    """Describe a plain ViT with a pooling that may be another than its own."""
    distilled, embedding = isinstance(vit, _DISTILLED), vit.patch_embed
    return Architecture(
        image_size=embedding.img_size[0],
        embedding=describe_embedding(embedding, vit._pos_embed(blank_patches(embedding))),
        pre_norm=vit.norm_pre,
        layers=tuple(_layer(block) for block in vit.blocks),
        norm=vit.norm,
        pooling=pooling,
        feature_norm=nn.Identity() if distilled else vit.fc_norm,
    )


def _obstacle(vit: Any) -> str | None:
    if (reason := layers_obstacle(vit)) is not None:
        return reason
    if vit.global_pool not in POOLINGS:
        return f"its pooling {vit.global_pool!r} is none of {', '.join(POOLINGS)}"
    return None


def _describe(vit: Any) -> Architecture:
    return describe_with(_pooling(vit), vit)


def _pooling(vit: Any) -> Pooling:
    if isinstance(vit, _DISTILLED):
        return Pooling("avg", 0, 2)
    if vit.global_pool == "token":
        return Pooling("avg", 0, 1)
    return Pooling(vit.global_pool, 0 if vit.pool_include_prefix else vit.num_prefix_tokens, None)


def _layer(block: Any) -> Layer:
    attention = Attention(
        heads=block.attn.num_heads,
        scale=block.attn.scale,
        qkv=linear(block.attn.qkv),
        q_norm=block.attn.q_norm,
        k_norm=block.attn.k_norm,
        rotation=None,
        norm=block.attn.norm,
        projection=linear(block.attn.proj),
    )
    return Layer(
        norm1=block.norm1,
        attention=attention,
        scale1=_scale(block.ls1),
        norm2=block.norm2,
        mlp=describe_mlp(block.mlp),
        scale2=_scale(block.ls2),
    )


def _scale(layer_scale: Any) -> Tensor | None:
    return None if isinstance(layer_scale, nn.Identity) else layer_scale.gamma


FAMILY = Family(MODELS, _obstacle, _describe)
