"""What a vision transformer computes, and with which weights: how a family describes its models.

Whoever computes one, `cbpnet.backbone.vit` in PyTorch or `quantize.trunk` in frozen layers, reads
this description and knows no class of timm. A description holds a model's own tensors and norms,
not copies of them, and so is in the dtype that the model is in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "MLP",
    "Architecture",
    "Attention",
    "AttentionPooling",
    "Embedding",
    "Family",
    "Layer",
    "Linear",
    "Pooling",
    "Rotation",
    "gelu_tanh",
    "quick_gelu",
]


def gelu_tanh(x: Tensor) -> Tensor:
    """Return ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """Return ``x sigmoid(1.702 x)``."""
    return x * torch.sigmoid(1.702 * x)


class Linear(NamedTuple):
    """``x W^T + b`` with weight [out, in] and bias [out]."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Embedding:
    """How pixels become tokens: one convolution whose stride is its ``kernel`` [D, 3, P, P].

    ``position`` [1, N, D] is what every token gets added; its first rows, one for each token that
    is no patch, are class and register tokens themselves. ``norm`` is that of patches alone.
    """

    kernel: Tensor
    bias: Tensor | None
    norm: nn.Module
    position: Tensor

    @property
    def patch(self) -> int:
        """Height and width of a patch in pixels."""
        return self.kernel.shape[-1]


@dataclass(frozen=True)
class Rotation:
    """A rotary position embedding (arXiv:2104.09864, equation 34) of queries and keys.

    A pair (a, b) of a head's d entries becomes ``(a cos - b sin, b cos + a sin)``. ``cosine`` and
    ``sine`` are [1 or heads, N, d], 1 and 0 for tokens that are no patches. Pairs are the entries
    ``2 i`` and ``2 i + 1`` where they are ``neighbours``, else ``i`` and ``i + d/2``.
    """

    cosine: Tensor
    sine: Tensor
    neighbours: bool


@dataclass(frozen=True)
class Attention:
    """``softmax(scale q k^T) v`` of each head.

    ``qkv`` gives [query, key, value], each a concatenation of the heads. ``q_norm`` and ``k_norm``
    are those of a head's queries and keys, before their ``rotation``; ``norm`` is that of the mixed
    values, before their ``projection``.
    """

    heads: int
    scale: float
    qkv: Linear
    q_norm: nn.Module
    k_norm: nn.Module
    rotation: Rotation | None
    norm: nn.Module
    projection: Linear


@dataclass(frozen=True)
class MLP:
    """``fc2(norm(activation(fc1(x))))``.

    Where it is ``gated`` (SwiGLU, arXiv:2002.05202), the activation takes the first half of what
    ``fc1`` gives, and its result is multiplied by the second. GELU, its approximations and SiLU are
    the functions `torch.nn.functional.gelu`, `gelu_tanh`, `quick_gelu` and
    `torch.nn.functional.silu`, whatever modules the model has; another activation is its module.
    """

    fc1: Linear
    activation: Callable[[Tensor], Tensor]
    gated: bool
    norm: nn.Module
    fc2: Linear


@dataclass(frozen=True)
class Layer:
    """``x += scale1 attention(norm1(x))``, then ``x += scale2 mlp(norm2(x))``; scales are [D]."""

    norm1: nn.Module
    attention: Attention
    scale1: Tensor | None
    norm2: nn.Module
    mlp: MLP
    scale2: Tensor | None


@dataclass(frozen=True)
class Pooling:
    """The mean, the maximum, or half the sum of both, over tokens ``first`` to ``last`` - 1."""

    reduction: Literal["avg", "max", "avgmax"]
    first: int
    last: int | None


@dataclass(frozen=True)
class AttentionPooling:
    """Attention of one learnt ``query`` [D] on all tokens from ``first`` on, then an MLP.

    ``y = projection(attention)``, and the feature is ``y + mlp(norm(y))``. ``key_value`` gives keys
    and values.
    """

    first: int
    heads: int
    scale: float
    query: Tensor
    key_value: Linear
    k_norm: nn.Module
    projection: Linear
    norm: nn.Module
    mlp: MLP


@dataclass(frozen=True)
class Architecture:
    """A vision transformer, from pixels to features.

    Embedding, ``pre_norm``, ``layers``, ``norm`` of the tokens, ``pooling``, and ``feature_norm``
    of what was pooled. ``image_size`` is the height and width of the images in pixels.
    """

    image_size: int
    embedding: Embedding
    pre_norm: nn.Module
    layers: tuple[Layer, ...]
    norm: nn.Module
    pooling: Pooling | AttentionPooling
    feature_norm: nn.Module

    @property
    def dim(self) -> int:
        """Width D of tokens and features."""
        return self.embedding.kernel.shape[0]

    @property
    def first_patch(self) -> int:
        """Number of tokens that are no patches: class and register tokens, which come first."""
        grid = self.image_size // self.embedding.patch
        return self.embedding.position.shape[1] - grid * grid


@dataclass(frozen=True)
class Family:
    """Models that one adapter describes: those of timm's classes ``models``, without obstacle.

    ``obstacle`` says why such a model cannot be described all the same, or None.
    """

    models: tuple[type[nn.Module], ...]
    obstacle: Callable[[Any], str | None]
    describe: Callable[[Any], Architecture]
