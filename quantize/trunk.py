"""The frozen backbone in a form that lowers to a handful of delegate calls, forward and backward.

It computes what `Backbone` computes. Every elementwise scale and shift that stands before or after
a linear layer (layer norm's, LayerScale's, attention's 1/sqrt(d)) is folded into that layer's
weights; patches are embedded by a linear layer on rearranged pixels; and tokens that no feature
reads are dropped in the last layer once attention has read them.

Where layer norms are all that reads the residual stream, which subtract each token's mean, nothing
is written to it but vectors of mean 0: what the layers that write would add to the mean is folded
away, and the norms need not look for it.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cbpnet.backbone.architecture import (
    MLP,
    Architecture,
    AttentionPooling,
    Layer,
    Linear,
    Pooling,
)
from cbpnet.backbone.features import BLOCK_EPS
from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import check_prepared
from quantize.folding import (
    after_norm,
    centred_output,
    query_key_value,
    rotation_tables,
    scaled_output,
    split_halves,
)
from quantize.frozen_linear import FrozenLinear, Precision
from quantize.operators import (
    EXACT,
    KEEPING_HALVES,
    Operators,
    centred,
    equal_parts,
    prefix_attention,
    rotate,
    select_tokens,
)
from quantize.trunk_parts import (
    GELUS,
    FrozenAttentionPool,
    FrozenMLP,
    FrozenNorm,
    FrozenPool,
    MakeLayer,
)

__all__ = ["FrozenTrunk"]

# The parts that have operators of their own; between them are a few norms.
_BETWEEN, _POOL = "between", "pool"


class FrozenTrunk(nn.Module):
    """A backbone's trunk with frozen linear layers in ``precision``.

    ``keep_fp32`` names layers that stay in fp32: "patch_embed", "blocks.0.qkv", "blocks.0.proj",
    "blocks.0.fc1", "blocks.0.fc2" and so on. In int8, what a block keeps for its backward pass is
    in half precision. ``features`` are those that `parts` can be asked for, as
    `cbpnet.method.feature_names` defines them.

    Attributes:
        dim: width D of tokens and features.
        image_size: height and width of the images in pixels.
        layers: the frozen linear layers by name.
        logits: the number of the classifier's logits where they are among the features, else 0.

    Raises:
        InputError: the backbone has a part that cannot be lowered, is not in fp32 or lacks one of
            the features, or a name in ``keep_fp32`` is no layer.
    """

    position: Tensor

    def __init__(
        self,
        backbone: Backbone,
        precision: Precision,
        keep_fp32: Collection[str] = (),
        features: Sequence[str] = ("pooled",),
    ) -> None:
        super().__init__()
        backbone.check_features(features)
        self.features = tuple(features)
        self.logits = backbone.logits if f"logits{backbone.logits}" in features else 0
        self.name, self.dim, self.image_size = backbone.name, backbone.dim, backbone.image_size
        architecture = backbone.architecture
        _check_lowerable(backbone, architecture)
        self.centred = _reads_through_norms(architecture, features)
        self.layers: dict[str, FrozenLinear] = {}

        def make(name: str, linear: Linear) -> FrozenLinear:
            kept: Precision = "fp32" if name in keep_fp32 else precision
            bias = None if linear.bias is None else linear.bias.detach()
            self.layers[name] = FrozenLinear(linear.weight.detach(), bias, kept)
            return self.layers[name]

        embedding = architecture.embedding
        self.patch = embedding.patch
        self.patch_embed = make("patch_embed", Linear(embedding.kernel.flatten(1), embedding.bias))
        self.patch_norm = FrozenNorm(embedding.norm)
        self.register_buffer("position", embedding.position)
        self.embedding = nn.Identity()  # a place for observers, like a block's sums
        self.pre_norm = FrozenNorm(architecture.pre_norm)
        self.blocks = nn.ModuleList(
            _Block(layer, f"blocks.{index}", make, self.centred)
            for index, layer in enumerate(architecture.layers)
        )
        self.norm = FrozenNorm(architecture.norm)
        pooling = architecture.pooling
        self.pool = (
            FrozenAttentionPool(pooling, _POOL, make)
            if isinstance(pooling, AttentionPooling)
            else FrozenPool(pooling, self.position.shape[1])
        )
        self.feature_norm = FrozenNorm(architecture.feature_norm)
        patches = Pooling("avg", architecture.first_patch, None)
        self.patch_mean = FrozenPool(patches, self.position.shape[1])
        block_norm = nn.LayerNorm(self.dim, BLOCK_EPS, elementwise_affine=False)
        self.block_norm = FrozenNorm(block_norm, centred=self.centred)
        for name in features:
            if (linear := backbone.on_pooled(name)) is not None:
                self.add_module(name, make(name, linear))
        names = [f"blocks.{index}" for index in range(len(self.blocks))]
        inside = KEEPING_HALVES if precision == "int8" else EXACT
        self.operators = {_BETWEEN: EXACT, **dict.fromkeys([*names, _POOL], inside)}
        unknown = sorted(set(keep_fp32) - self.layers.keys())
        if unknown:
            raise InputError(
                f"layer {unknown[0]!r} does not exist in {backbone.name}; it must be one of "
                f"patch_embed, blocks.0.qkv to {list(self.layers)[-1]}"
            )

    def with_operators(
        self, operators: Operators, exceptions: Mapping[str, Operators] | None = None
    ) -> "FrozenTrunk":
        """Return a trunk of the same weights that computes with other operators.

        ``exceptions`` are those of parts, "blocks.0" and so on, or "pool".
        """
        changed = copy.deepcopy(self)
        changed.operators = dict.fromkeys(self.operators, operators) | dict(exceptions or {})
        return changed

    def forward(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor:
        """Return features [B, D]; see `Backbone.forward`.

        Raises InputError for images of another size and a prefix for a layer that does not exist.
        """
        return self.parts(images, prefixes, ("pooled",))[0]

    def parts(
        self, images: Tensor, prefixes: Mapping[int, Tensor] | None, names: Sequence[str]
    ) -> list[Tensor]:
        """Return several features [B, d] from one pass; see `Backbone.parts`.

        Raises InputError as `forward` does, and for a name that is not among the `features`.
        """
        prefixes = prefixes or {}
        self._check_input(images, prefixes)
        check_prepared(names, self.features)
        between = self.operators[_BETWEEN]
        found: dict[str, Tensor] = {}
        tokens = self._embed(images)
        last = len(self.blocks) - 1
        patches_read = "patches" in names or f"block{last}" in names
        for index, block in enumerate(self.blocks):
            rows = self.pool.rows if index == last and not patches_read else None
            operators = self.operators[f"blocks.{index}"]
            tokens = block(tokens, prefixes.get(index), rows, operators)
            if (name := f"block{index}") in names:
                found[name] = self.block_norm(self.patch_mean(tokens, between), between)
        tokens = self.norm(tokens, between)
        if "patches" in names:
            found["patches"] = self.patch_mean(tokens, between)
        if patches_read and self.pool.rows is not None:
            tokens = select_tokens(tokens, 0, self.pool.rows)
        pooled = self.pool(tokens, self.operators[_POOL])
        found["pooled"] = self.feature_norm(pooled, between)
        for name in names:
            if name in self.layers:
                found[name] = self.layers[name](found["pooled"])
        return [found[name] for name in names]

    def _embed(self, images: Tensor) -> Tensor:
        """Return the tokens [B, N, D] that the first layer is given."""
        between = self.operators[_BETWEEN]
        tokens = self.patch_norm(self.patch_embed(_patches(images, self.patch)), between)
        extra = self.position.shape[1] - tokens.shape[1]
        tokens = self.embedding(F.pad(tokens, (0, 0, extra, 0)) + self.position)
        tokens = self.pre_norm(tokens, between)
        return centred(tokens) if self.centred else tokens

    def with_attention(
        self, images: Tensor, prefixes: Mapping[int, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return features, and by layer the attention that its prefix receives, [B, heads, L].

        See `Backbone.with_attention`; in the last layer the queries are those that the pooling
        reads. Raises InputError as `forward` does.
        """
        received: dict[int, Tensor] = {}

        def watched(layer: int) -> Operators:
            plain = self.operators[f"blocks.{layer}"]

            def attention(
                query: Tensor, key: Tensor, value: Tensor, prefix: tuple[Tensor, Tensor] | None
            ) -> Tensor:
                if prefix is not None:
                    masses = prefix_attention(query, key, prefix[0])
                    received[layer] = masses.view(len(images), -1, masses.shape[1])
                return plain.attention(query, key, value, prefix)

            return replace(plain, attention=attention)

        self._check_input(images, prefixes)
        watching = copy.copy(self)
        watching.operators = self.operators | {
            f"blocks.{layer}": watched(layer) for layer in prefixes
        }
        return watching(images, prefixes), received

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

    cosine: Tensor | None
    sine: Tensor | None

    def __init__(self, layer: Layer, name: str, make: MakeLayer, centred: bool) -> None:
        super().__init__()
        attention, mlp = layer.attention, layer.mlp
        self.heads = attention.heads
        self.norm1 = FrozenNorm(layer.norm1, folded=True, centred=centred)
        self.norm2 = FrozenNorm(layer.norm2, folded=True, centred=centred)
        rotation = attention.rotation
        self.neighbours = rotation is not None and rotation.neighbours
        self.q_norm = FrozenNorm(attention.q_norm, neighbours=self.neighbours)
        self.k_norm = FrozenNorm(attention.k_norm, neighbours=self.neighbours)
        self.inner_norm = FrozenNorm(attention.norm, folded=True)
        # Past a norm of the queries a scale in their weights would be lost.
        folds = self.q_norm.eps is None
        self.scale = 1.0 if folds else attention.scale
        self.qkv = make(
            f"{name}.qkv",
            query_key_value(attention, layer.norm1, attention.scale if folds else 1.0),
        )
        tables = (None, None) if rotation is None else rotation_tables(rotation)
        for table, value in zip(("cosine", "sine"), tables, strict=True):
            self.register_buffer(table, value)
        written = centred_output if centred else _unchanged
        projection = after_norm(attention.norm, attention.projection)
        self.proj = make(f"{name}.proj", written(scaled_output(layer.scale1, projection)))
        # The sums compute nothing: they are places of the residual stream, for observers.
        self.attention_sum = nn.Identity()
        self.fc1 = make(f"{name}.fc1", after_norm(layer.norm2, mlp.fc1))
        self.fc2 = make(
            f"{name}.fc2", written(scaled_output(layer.scale2, after_norm(mlp.norm, mlp.fc2)))
        )
        self.mlp = FrozenMLP(mlp)
        self.mlp_sum = nn.Identity()

    def forward(
        self, tokens: Tensor, prefix: Tensor | None, rows: int | None, operators: Operators
    ) -> Tensor:
        """Return the layer's tokens [B, N, D], or of only the first ``rows`` ones."""
        batch, length, _ = tokens.shape
        heads = self.qkv(self.norm1(tokens, operators)).view(batch, length, 3 * self.heads, -1)
        # each [B, heads, N, head_dim]
        query, key, value = equal_parts(heads.permute(0, 2, 1, 3), 3)
        query, key = self.q_norm(query, operators), self.k_norm(key, operators)
        if self.cosine is not None and self.sine is not None:
            query, key = (rotate(part, self.cosine, self.sine) for part in (query, key))
        if self.scale != 1.0:
            query = query * self.scale
        query, key, value = (part.reshape(-1, *part.shape[2:]) for part in (query, key, value))
        if rows is not None:
            query, tokens = select_tokens(query, 0, rows), select_tokens(tokens, 0, rows)
        before = None if prefix is None else self._split_prefix(prefix, batch)
        mixed = operators.attention(query, key, value, before)  # [B heads, N, head_dim]
        mixed = mixed.view(batch, self.heads, *mixed.shape[1:]).permute(0, 2, 1, 3)
        mixed = mixed.reshape(batch, mixed.shape[1], -1)
        tokens = self.attention_sum(tokens + self.proj(self.inner_norm(mixed, operators)))
        hidden = self.mlp(self.fc1(self.norm2(tokens, operators)), operators)
        output: Tensor = self.mlp_sum(tokens + self.fc2(hidden))
        return output

    def _split_prefix(self, prefix: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Return a prefix [B or 1, 2, L, D] as keys and values [B heads, L, head_dim].

        They part before anything else: ExecuTorch's exporter for Arm moves a permutation past a
        split wrongly.
        """
        length, dim = prefix.shape[2:]
        keys, values = prefix.unbind(1)
        if self.neighbours:
            keys = split_halves(keys, dim // self.heads)
        split_keys, split_values = (
            part.reshape(-1, length, self.heads, dim // self.heads)
            .permute(0, 2, 1, 3)
            .expand(batch, self.heads, length, dim // self.heads)
            .reshape(batch * self.heads, length, dim // self.heads)
            for part in (keys, values)
        )
        return split_keys, split_values


def _patches(images: Tensor, patch: int) -> Tensor:
    """Return the pixels [B, N, 3 patch^2] of each patch, in the order of a convolution's weight."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def _unchanged(linear: Linear) -> Linear:
    return linear


def _reads_through_norms(architecture: Architecture, features: Collection[str]) -> bool:
    """Return whether layer norms are all that reads the residual stream."""
    norms = [norm for layer in architecture.layers for norm in (layer.norm1, layer.norm2)]
    last = architecture.norm
    read_as_it_is = "patches" in features or isinstance(architecture.pooling, AttentionPooling)
    if isinstance(last, nn.Identity) and not read_as_it_is:
        last = architecture.feature_norm  # a mean of tokens of mean 0 has mean 0
    return all(isinstance(norm, nn.LayerNorm) for norm in (*norms, last))


def _check_lowerable(backbone: Backbone, architecture: Architecture) -> None:
    if backbone.dtype != torch.float32:
        raise InputError(
            f"backbone {backbone.name!r} is in {backbone.dtype}; its frozen layers are made from "
            "fp32 weights: load it with torch.float32"
        )
    reason = _obstacle(architecture)
    if reason is not None:
        raise InputError(f"backbone {backbone.name!r} cannot be lowered: {reason}")


def _obstacle(architecture: Architecture) -> str | None:
    pooling = architecture.pooling
    norms = [architecture.embedding.norm, architecture.pre_norm]
    norms += [architecture.norm, architecture.feature_norm]
    mlps = [layer.mlp for layer in architecture.layers]
    if isinstance(pooling, AttentionPooling):
        norms += [pooling.k_norm, pooling.norm]
        mlps.append(pooling.mlp)
    elif pooling.reduction != "avg":
        return f"its pooling {pooling.reduction!r} is neither token nor avg"
    for layer in architecture.layers:
        attention = layer.attention
        norms += [layer.norm1, layer.norm2, attention.norm, attention.q_norm, attention.k_norm]
    for mlp in mlps:
        if (reason := _mlp_obstacle(mlp)) is not None:
            return reason
        norms.append(mlp.norm)
    for norm in norms:
        if not isinstance(norm, nn.LayerNorm | nn.Identity):
            return f"its norms are {type(norm).__name__}, not LayerNorm"
    return None


def _mlp_obstacle(mlp: MLP) -> str | None:
    if mlp.gated and mlp.activation is not F.silu:
        return f"its MLP is gated by {mlp.activation}, not by SiLU"
    if not mlp.gated and mlp.activation not in GELUS:
        return f"its activation {mlp.activation} is none of {', '.join(GELUS.values())}"
    return None
