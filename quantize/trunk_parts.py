"""What a frozen trunk has besides its layers: norms, MLPs and poolings."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cbpnet.backbone.architecture import (
    MLP,
    AttentionPooling,
    Linear,
    Pooling,
    gelu_tanh,
    quick_gelu,
)
from quantize.folding import after_norm, split_halves
from quantize.frozen_linear import FrozenLinear
from quantize.operators import Operators, equal_parts, select_tokens

__all__ = ["GELUS", "FrozenAttentionPool", "FrozenMLP", "FrozenNorm", "FrozenPool", "MakeLayer"]

# Makes a frozen layer by its name in the trunk.
MakeLayer = Callable[[str, Linear], FrozenLinear]


# The operator of each activation that an MLP without a gate may have.
GELUS = {F.gelu: "gelu", gelu_tanh: "gelu_tanh", quick_gelu: "quick_gelu"}


class FrozenNorm(nn.Module):
    """A layer norm, or nothing; a ``folded`` one's scale and shift are in the layer after it.

    The tokens that a ``centred`` one is given have mean 0. What one of ``neighbours`` is given has
    its even entries before its odd ones.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        norm: nn.Module,
        folded: bool = False,
        centred: bool = False,
        neighbours: bool = False,
    ) -> None:
        super().__init__()
        self.centred = centred
        self.eps: float | None = norm.eps if isinstance(norm, nn.LayerNorm) else None
        for name in ("weight", "bias"):
            value = None if folded else getattr(norm, name, None)
            if value is not None:
                value = split_halves(value.detach(), len(value)) if neighbours else value.detach()
            self.register_buffer(name, value)

    def forward(self, x: Tensor, operators: Operators) -> Tensor:
        """Return x [..., D], normalised."""
        if self.eps is None:
            return x
        norm = operators.rms_norm if self.centred else operators.layer_norm
        x = norm(x, self.eps)
        if self.weight is not None:
            x = x * self.weight
        return x if self.bias is None else x + self.bias


class FrozenMLP(nn.Module):
    """The inside of an MLP: what stands between its two layers."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        self.activation = "swiglu" if mlp.gated else GELUS[mlp.activation]
        self.norm = FrozenNorm(mlp.norm, folded=True)

    def forward(self, x: Tensor, operators: Operators) -> Tensor:
        """Return [..., H] of x [..., H], or of [..., 2 H] where it is gated."""
        activation: Callable[[Tensor], Tensor] = getattr(operators, self.activation)
        normed: Tensor = self.norm(activation(x), operators)
        return normed


class FrozenPool(nn.Module):
    """The mean of tokens [B, N, D], which is a product with a frozen vector along N.

    ``rows`` is the number of leading tokens that it is given; None for all of them, the ``length``.
    """

    def __init__(self, pooling: Pooling, length: int) -> None:
        super().__init__()
        self.rows = pooling.last
        weight = torch.zeros(1, pooling.last or length)
        weight[:, pooling.first :] = 1 / (weight.shape[1] - pooling.first)
        self.mean = FrozenLinear(weight, None, "fp32")

    def forward(self, tokens: Tensor, operators: Operators) -> Tensor:
        """Return features [B, D]."""
        if self.rows == 1:
            return tokens.reshape(len(tokens), -1)
        mean: Tensor = self.mean(tokens.permute(0, 2, 1))
        return mean.reshape(len(tokens), -1)


class FrozenAttentionPool(nn.Module):
    """Attention of a learnt query on tokens [B, N, D], and an MLP."""

    rows = None
    query: Tensor

    def __init__(self, pooling: AttentionPooling, name: str, make: MakeLayer) -> None:
        super().__init__()
        self.first, self.heads = pooling.first, pooling.heads
        query = pooling.scale * pooling.query.view(1, self.heads, 1, -1)
        self.register_buffer("query", query)
        self.key_value = make(f"{name}.key_value", pooling.key_value)
        self.k_norm = FrozenNorm(pooling.k_norm)
        self.proj = make(f"{name}.proj", pooling.projection)
        self.norm2 = FrozenNorm(pooling.norm, folded=True)
        self.fc1 = make(f"{name}.fc1", after_norm(pooling.norm, pooling.mlp.fc1))
        self.mlp = FrozenMLP(pooling.mlp)
        self.fc2 = make(f"{name}.fc2", after_norm(pooling.mlp.norm, pooling.mlp.fc2))

    def forward(self, tokens: Tensor, operators: Operators) -> Tensor:
        """Return features [B, D]."""
        batch, length, _ = tokens.shape
        if self.first:
            tokens, length = select_tokens(tokens, self.first, length), length - self.first
        joined = self.key_value(tokens).view(batch, length, 2 * self.heads, -1)
        key, value = equal_parts(joined.permute(0, 2, 1, 3), 2)  # each [B, heads, N, head_dim]
        key = self.k_norm(key, operators)
        query = self.query.expand(batch, -1, -1, -1)
        query, key, value = (part.reshape(-1, *part.shape[2:]) for part in (query, key, value))
        pooled = self.proj(operators.attention(query, key, value, None).reshape(batch, -1))
        hidden = self.mlp(self.fc1(self.norm2(pooled, operators)), operators)
        features: Tensor = pooled + self.fc2(hidden)
        return features
