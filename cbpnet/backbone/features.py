"""The eager forward pass of a described vision transformer, with prefix keys and values."""

from collections.abc import Callable, Collection, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone.architecture import (
    MLP,
    Architecture,
    Attention,
    AttentionPooling,
    Embedding,
    Pooling,
    Rotation,
)

__all__ = ["BLOCK_EPS", "compute_features"]

BLOCK_EPS = 1e-6  # of the norm of a block's mean patch token

# Is shown the attention probabilities [B, heads, queries, keys] of a prompted layer, prefix first.
Watch = Callable[[int, Tensor], object]


def compute_features(
    architecture: Architecture,
    images: Tensor,
    prefixes: Mapping[int, Tensor],
    names: Collection[str],
    watch: Watch = lambda layer, weights: None,
) -> dict[str, Tensor]:
    """Return "pooled" and what is named of "patches" and blocks, [B, D], of images [B, 3, S, S].

    Prefixes are those of `Backbone.forward`. ``watch`` is shown every prompted layer's attention.
    """
    found: dict[str, Tensor] = {}
    first = architecture.first_patch
    tokens = architecture.pre_norm(_embed(architecture.embedding, images))
    for index, layer in enumerate(architecture.layers):
        attended = _attend(
            layer.attention, layer.norm1(tokens), prefixes.get(index), partial(watch, index)
        )
        tokens = tokens + _scaled(attended, layer.scale1)
        tokens = tokens + _scaled(_mlp(layer.mlp, layer.norm2(tokens)), layer.scale2)
        if (name := f"block{index}") in names:
            mean = tokens[:, first:].mean(dim=1)
            found[name] = F.layer_norm(mean, mean.shape[1:], eps=BLOCK_EPS)
    tokens = architecture.norm(tokens)
    if "patches" in names:
        found["patches"] = tokens[:, first:].mean(dim=1)
    found["pooled"] = architecture.feature_norm(_pool(architecture.pooling, tokens))
    return found


def _embed(embedding: Embedding, images: Tensor) -> Tensor:
    maps = F.conv2d(images, embedding.kernel, embedding.bias, stride=embedding.patch)
    patches = embedding.norm(maps.flatten(2).transpose(1, 2))
    extra = embedding.position.shape[1] - patches.shape[1]
    others, position = embedding.position.tensor_split([extra], dim=1)
    return torch.cat([others.expand(len(images), -1, -1), patches + position], dim=1)


def _attend(
    attention: Attention,
    tokens: Tensor,
    prefix: Tensor | None,
    watch: Callable[[Tensor], object],
) -> Tensor:
    """Attention on tokens [B, N, D], with a prefix [B or 1, 2, L, D].

    It is written out, because the fused kernel is slower on CPU where gradients are needed and
    cannot be lowered to every target.
    """
    query, key, value = _heads(F.linear(tokens, *attention.qkv), 3, attention.heads)
    query, key = attention.q_norm(query), attention.k_norm(key)
    if attention.rotation is not None:
        query, key = (_rotated(attention.rotation, part) for part in (query, key))
    if prefix is not None:
        # [B, 2, L, D] -> two of [B, heads, L, head_dim]. DualPrompt's public code reshapes across
        # these axes where it must permute, and then mixes keys with values.
        split = prefix.to(tokens.dtype).unflatten(-1, (attention.heads, -1)).transpose(2, 3)
        prefix_key, prefix_value = split.expand(len(tokens), -1, -1, -1, -1).unbind(1)
        key = torch.cat([prefix_key, key], dim=2)
        value = torch.cat([prefix_value, value], dim=2)
    weights = _weights(query * attention.scale, key)
    if prefix is not None:
        watch(weights)
    return F.linear(attention.norm(_mix(weights, value)), *attention.projection)


def _heads(joined: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Return [B, N, parts D] as that many [B, heads, N, head_dim]."""
    split: Tensor = joined.unflatten(-1, (parts, heads, -1))
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def _rotated(rotation: Rotation, x: Tensor) -> Tensor:
    """Return queries or keys [B, heads, N, head_dim], rotated in the precision of the angles."""
    if rotation.neighbours:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    else:
        first, second = x.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
    return (x * rotation.cosine + turned * rotation.sine).to(x.dtype)


def _weights(query: Tensor, key: Tensor) -> Tensor:
    """Return ``softmax(q k^T)`` [B, heads, N, M] of q [B, heads, N, head_dim] and k of M tokens."""
    return (query @ key.transpose(-2, -1)).softmax(dim=-1)


def _mix(weights: Tensor, value: Tensor) -> Tensor:
    """Return the heads' weighted values, side by side in [B, N, D]."""
    return (weights @ value).transpose(1, 2).flatten(2)


def _mlp(mlp: MLP, tokens: Tensor) -> Tensor:
    hidden = F.linear(tokens, *mlp.fc1)
    if mlp.gated:
        gate, hidden = hidden.chunk(2, dim=-1)
        hidden = mlp.activation(gate) * hidden
    else:
        hidden = mlp.activation(hidden)
    return F.linear(mlp.norm(hidden), *mlp.fc2)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


def _pool(pooling: Pooling | AttentionPooling, tokens: Tensor) -> Tensor:
    if isinstance(pooling, AttentionPooling):
        return _pool_by_attention(pooling, tokens[:, pooling.first :])
    read = tokens[:, pooling.first : pooling.last]
    if pooling.reduction == "avg":
        return read.mean(dim=1)
    if pooling.reduction == "max":
        return read.amax(dim=1)
    return 0.5 * (read.amax(dim=1) + read.mean(dim=1))


def _pool_by_attention(pooling: AttentionPooling, tokens: Tensor) -> Tensor:
    key, value = _heads(F.linear(tokens, *pooling.key_value), 2, pooling.heads)
    query = pooling.scale * pooling.query.view(1, pooling.heads, 1, -1)
    mixed = _mix(_weights(query, pooling.k_norm(key)), value)
    pooled = F.linear(mixed, *pooling.projection)
    pooled = pooled + _mlp(pooling.mlp, pooling.norm(pooled))
    return pooled[:, 0]
