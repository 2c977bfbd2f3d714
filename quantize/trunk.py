"""The frozen backbone in a form that lowers to a handful of delegate calls, forward and backward.

It computes what `Backbone` computes. Every elementwise scale and shift that stands before or after
a linear layer (layer norm's, LayerScale's, attention's 1/sqrt(d)) is folded into that layer's
weights; patches are embedded by a linear layer on rearranged pixels; and tokens that the pooling
does not read are dropped in the last layer once attention has read them.

Where layer norms are all that reads the residual stream, which subtract each token's mean, nothing
is written to it but vectors of mean 0: what the layers that write would add to the mean is folded
away, and the norms need not look for it.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from quantize.frozen_linear import FrozenLinear, Precision
from quantize.operators import (
    attention,
    centred,
    first_tokens,
    gelu,
    layer_norm,
    rms_norm,
    thirds,
)

__all__ = ["FrozenTrunk"]

timm = import_timm()

_EXACT_GELU = (nn.GELU, timm.layers.GELU)


class FrozenTrunk(nn.Module):
    """A backbone's trunk with frozen linear layers in ``precision``.

    ``keep_fp32`` names layers that stay in fp32: "patch_embed", "blocks.0.qkv", "blocks.0.proj",
    "blocks.0.fc1", "blocks.0.fc2" and so on.

    Attributes:
        dim: width D of tokens and features.
        image_size: height and width of the images in pixels.
        layers: the frozen linear layers by name.

    Raises:
        InputError: the backbone has a part that cannot be lowered or is not in fp32, or a name in
            ``keep_fp32`` is no layer.
    """

    position: Tensor

    def __init__(
        self, backbone: Backbone, precision: Precision, keep_fp32: Collection[str] = ()
    ) -> None:
        super().__init__()
        self.name, self.dim, self.image_size = backbone.name, backbone.dim, backbone.image_size
        vit = backbone.vit
        _check_lowerable(backbone)
        self.centred = _reads_through_norms(vit)
        self.layers: dict[str, FrozenLinear] = {}

        def frozen(name: str, weight: Tensor, bias: Tensor | None) -> FrozenLinear:
            kept: Precision = "fp32" if name in keep_fp32 else precision
            self.layers[name] = FrozenLinear(weight.detach(), _detached(bias), kept)
            return self.layers[name]

        self.patch = vit.patch_embed.patch_size[0]
        patch_embedding = vit.patch_embed.proj
        self.patch_embed = frozen(
            "patch_embed", patch_embedding.weight.flatten(1), patch_embedding.bias
        )
        self.patch_norm = _Norm(vit.patch_embed.norm)
        with torch.no_grad():  # class and register tokens, and every token's position
            patches = vit.patch_embed(torch.zeros(1, 3, self.image_size, self.image_size))
            self.register_buffer("position", vit._pos_embed(torch.zeros_like(patches)))
        self.embedding = nn.Identity()  # a place for observers, like a block's sums
        self.pre_norm = _Norm(vit.norm_pre)
        self.blocks = nn.ModuleList(
            _Block(block, f"blocks.{index}", frozen, self.centred, precision)
            for index, block in enumerate(vit.blocks)
        )
        self.norm = _Norm(vit.norm)
        self.pool = _Pool(vit)
        unknown = sorted(set(keep_fp32) - self.layers.keys())
        if unknown:
            raise InputError(
                f"layer {unknown[0]!r} does not exist in {backbone.name}; it must be one of "
                f"patch_embed, blocks.0.qkv to blocks.{backbone.depth - 1}.fc2"
            )

    def forward(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor:
        """Return features [B, D]; see `Backbone.forward`.

        Raises InputError for images of another size and a prefix for a layer that does not exist.
        """
        prefixes = prefixes or {}
        self._check_input(images, prefixes)
        tokens = self.patch_norm(self.patch_embed(_patches(images, self.patch)))
        extra = self.position.shape[1] - tokens.shape[1]
        tokens = self.embedding(nn.functional.pad(tokens, (0, 0, extra, 0)) + self.position)
        tokens = self.pre_norm(tokens)
        if self.centred:
            tokens = centred(tokens)
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            rows = self.pool.rows if index == last else None
            tokens = block(tokens, prefixes.get(index), rows)
        features: Tensor = self.pool(self.norm(tokens))
        return features

    def _check_input(self, images: Tensor, prefixes: Mapping[int, Tensor]) -> None:
        expected = (3, self.image_size, self.image_size)
        if tuple(images.shape[1:]) != expected:
            raise InputError(
                f"images of {self.name} are {list(images.shape)}; right would be {['B', *expected]}"
            )
        unknown = prefixes.keys() - range(len(self.blocks))
        if unknown:
            raise InputError(
                f"prefix layer {min(unknown)} of {self.name} must lie in 0 to "
                f"{len(self.blocks) - 1}"
            )


class _Block(nn.Module):
    """One layer: attention with a prefix, then the MLP."""

    def __init__(
        self, block: Any, name: str, frozen: Any, centred: bool, precision: Precision
    ) -> None:
        super().__init__()
        source = block.attn
        self.heads: int = source.num_heads
        self.halves = precision == "int8"
        self.attention, self.gelu = attention, gelu
        self.norm1 = _Norm(block.norm1, folded=True, centred=centred, halves=self.halves)
        self.norm2 = _Norm(block.norm2, folded=True, centred=centred, halves=self.halves)
        self.q_norm, self.k_norm = _Norm(source.q_norm), _Norm(source.k_norm)
        self.inner_norm = _Norm(source.norm, folded=True)
        weight, bias = _after_norm(block.norm1, source.qkv)
        scale = torch.ones(len(weight))
        if self.q_norm.eps is None:
            scale[: len(weight) // 3] = source.scale
            self.scale = 1.0
        else:
            self.scale = source.scale
        self.qkv = frozen(f"{name}.qkv", *_scaled(scale, weight, bias))
        written = _centred_output if centred else _unchanged
        self.proj = frozen(
            f"{name}.proj",
            *written(*_scaled(_gamma(block.ls1), *_after_norm(source.norm, source.proj))),
        )
        # The sums compute nothing: they are places of the residual stream, for observers.
        self.attention_sum = nn.Identity()
        self.fc1 = frozen(f"{name}.fc1", *_after_norm(block.norm2, block.mlp.fc1))
        self.fc2 = frozen(
            f"{name}.fc2",
            *written(*_scaled(_gamma(block.ls2), *_after_norm(block.mlp.norm, block.mlp.fc2))),
        )
        self.mlp_norm = _Norm(block.mlp.norm, folded=True)
        self.mlp_sum = nn.Identity()

    def forward(self, tokens: Tensor, prefix: Tensor | None, rows: int | None) -> Tensor:
        """Return the layer's tokens [B, N, D], or of only the first ``rows`` ones."""
        batch, length, _ = tokens.shape
        heads = self.qkv(self.norm1(tokens)).view(batch, length, 3 * self.heads, -1)
        query, key, value = thirds(heads.permute(0, 2, 1, 3))  # each [B, heads, N, head_dim]
        query, key = self.q_norm(query), self.k_norm(key)
        if self.scale != 1.0:
            query = query * self.scale
        query, key, value = (part.reshape(-1, *part.shape[2:]) for part in (query, key, value))
        if rows is not None:
            query, tokens = first_tokens(query, rows), first_tokens(tokens, rows)
        before = None if prefix is None else _split_prefix(prefix, batch, self.heads)
        mixed = self.attention(query, key, value, before, self.halves)  # [B heads, N, head_dim]
        mixed = mixed.view(batch, self.heads, *mixed.shape[1:]).permute(0, 2, 1, 3)
        mixed = mixed.reshape(batch, mixed.shape[1], -1)
        tokens = self.attention_sum(tokens + self.proj(self.inner_norm(mixed)))
        hidden = self.gelu(self.fc1(self.norm2(tokens)), self.halves)
        output: Tensor = self.mlp_sum(tokens + self.fc2(self.mlp_norm(hidden)))
        return output


class _Norm(nn.Module):
    """A layer norm, or nothing; a ``folded`` one's scale and shift are in the layer after it.

    The tokens that a ``centred`` one is given have mean 0.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, norm: nn.Module, folded: bool = False, centred: bool = False, halves: bool = False
    ) -> None:
        super().__init__()
        self.norm = rms_norm if centred else layer_norm
        self.halves = halves
        self.eps: float | None = norm.eps if isinstance(norm, nn.LayerNorm) else None
        for name in ("weight", "bias"):
            self.register_buffer(name, None if folded else _detached(getattr(norm, name, None)))

    def forward(self, x: Tensor) -> Tensor:
        if self.eps is None:
            return x
        x = self.norm(x, self.eps, self.halves)
        if self.weight is not None:
            x = x * self.weight
        return x if self.bias is None else x + self.bias


class _Pool(nn.Module):
    """timm's pooling of tokens [B, N, D] to features [B, D], and the norm after it.

    ``rows`` is the number of leading tokens that it reads; None for all of them.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        distilled = hasattr(vit, "head_dist")
        self.rows = 2 if distilled else 1 if vit.global_pool == "token" else None
        self.skipped: int = 0 if vit.pool_include_prefix else vit.num_prefix_tokens
        self.norm = _Norm(nn.Identity() if distilled else vit.fc_norm)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.rows is None:
            tokens = tokens[:, self.skipped :]
        count = tokens.shape[1]
        pooled = tokens.reshape(len(tokens), -1) if count == 1 else tokens.mean(dim=1)
        normed: Tensor = self.norm(pooled)
        return normed


def _patches(images: Tensor, patch: int) -> Tensor:
    """Return the pixels [B, N, 3 patch^2] of each patch, in the order of a convolution's weight."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def _split_prefix(prefix: Tensor, batch: int, heads: int) -> tuple[Tensor, Tensor]:
    """Return a prefix [B or 1, 2, L, D] as keys and values [B heads, L, head_dim].

    They part before anything else: ExecuTorch's exporter for Arm moves a permutation past a split
    wrongly.
    """
    length, dim = prefix.shape[2:]
    keys, values = (
        part.reshape(-1, length, heads, dim // heads)
        .permute(0, 2, 1, 3)
        .expand(batch, heads, length, dim // heads)
        .reshape(batch * heads, length, dim // heads)
        for part in prefix.unbind(1)
    )
    return keys, values


def _after_norm(norm: nn.Module, linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Return the weight and bias of a layer that has the norm before it folded in.

    What a norm gives has mean 0, so a row's mean acts on nothing; without it, what the layer passes
    back has mean 0 too.
    """
    weight, bias = linear.weight.detach(), _detached(linear.bias)
    if isinstance(norm, nn.LayerNorm) and norm.elementwise_affine:
        if norm.bias is not None:
            shift = weight @ norm.bias.detach()
            bias = shift if bias is None else bias + shift
        weight = weight * norm.weight.detach()
    if isinstance(norm, nn.LayerNorm):
        weight = weight - weight.mean(dim=1, keepdim=True)
    return weight, bias


def _centred_output(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the weight and bias of a layer whose outputs have their mean subtracted."""
    return weight - weight.mean(dim=0), None if bias is None else bias - bias.mean()


def _unchanged(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return weight, bias


def _reads_through_norms(vit: Any) -> bool:
    """Return whether layer norms are all that reads the residual stream."""
    norms = [norm for block in vit.blocks for norm in (block.norm1, block.norm2)]
    last = vit.fc_norm if isinstance(vit.norm, nn.Identity) else vit.norm
    return all(isinstance(norm, nn.LayerNorm) for norm in (*norms, last))


def _scaled(scale: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the weight and bias of a layer whose outputs are multiplied by ``scale`` [out]."""
    return weight * scale.unsqueeze(1), None if bias is None else bias * scale


def _gamma(layer_scale: Any) -> Tensor:
    """Return LayerScale's factors [D], or [1] ones where there is none."""
    gamma = getattr(layer_scale, "gamma", None)
    return torch.ones(1) if gamma is None else gamma.detach()


def _detached(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach()


def _check_lowerable(backbone: Backbone) -> None:
    if backbone.dtype != torch.float32:
        raise InputError(
            f"backbone {backbone.name!r} is in {backbone.dtype}; its frozen layers are made from "
            "fp32 weights: load it with torch.float32"
        )
    reason = _obstacle(backbone.vit)
    if reason is not None:
        raise InputError(f"backbone {backbone.name!r} cannot be lowered: {reason}")


def _obstacle(vit: Any) -> str | None:
    if vit.global_pool not in ("token", "avg"):
        return f"its pooling {vit.global_pool!r} is neither token nor avg"
    norms = [vit.patch_embed.norm, vit.norm_pre, vit.norm, vit.fc_norm]
    for block in vit.blocks:
        mlp = block.mlp
        if type(mlp) is not timm.layers.Mlp:
            return f"its MLP is a {type(mlp).__name__}, not two linear layers with a GELU"
        if type(mlp.act) not in _EXACT_GELU or getattr(mlp.act, "approximate", "none") != "none":
            return f"its activation {mlp.act} is not the exact GELU"
        norms += [block.norm1, block.norm2, mlp.norm]
        norms += [block.attn.norm, block.attn.q_norm, block.attn.k_norm]
    for norm in norms:
        if not isinstance(norm, nn.LayerNorm | nn.Identity):
            return f"its norms are {type(norm).__name__}, not LayerNorm"
    return None
