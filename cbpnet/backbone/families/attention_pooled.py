"""Plain vision transformers whose tokens are pooled by attention: SigLIP (arXiv:2303.15343)."""

from typing import Any

from cbpnet.backbone.architecture import Architecture, AttentionPooling, Family
from cbpnet.backbone.families.parts import describe_mlp, linear, mlp_obstacle
from cbpnet.backbone.families.plain import MODELS, describe_with, layers_obstacle
from cbpnet.backbone.torchvision_compat import import_timm

__all__ = ["FAMILY", "describe_pooling", "pooling_obstacle"]

_POOL = import_timm().layers.AttentionPoolLatent


def pooling_obstacle(pool: Any) -> str | None:
    """Return why a pooling is not by the attention of one learnt query, or None."""
    if type(pool) is not _POOL:
        return f"its pooling is by {type(pool).__name__}, not by attention of a learnt query"
    if pool.latent_len != 1 or pool.pos_embed is not None or pool.mlp is None:
        return "its attention pooling has more queries than one, positions, or no MLP"
    return mlp_obstacle(pool.mlp)


def describe_pooling(pool: Any, first: int) -> AttentionPooling:
    """Describe a pooling that reads the tokens from ``first`` on."""
    query = pool.q_norm(pool.q(pool.latent).view(pool.num_heads, -1)).flatten()
    return AttentionPooling(
        first=first,
        heads=pool.num_heads,
        scale=pool.scale,
        query=query,
        key_value=linear(pool.kv),
        k_norm=pool.k_norm,
        projection=linear(pool.proj),
        norm=pool.norm,
        mlp=describe_mlp(pool.mlp),
    )


def _obstacle(vit: Any) -> str | None:
    return layers_obstacle(vit) or pooling_obstacle(vit.attn_pool)


def _describe(vit: Any) -> Architecture:
    first = 0 if vit.pool_include_prefix else vit.num_prefix_tokens
    return describe_with(describe_pooling(vit.attn_pool, first), vit)


FAMILY = Family(MODELS, _obstacle, _describe)
