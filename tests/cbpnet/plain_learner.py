"""Plain references of the learner in PyTorch, and extractors to learn on, as fixtures."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.method.feature_names import feature_size

__all__ = ["image_loss", "micro_backbone", "network", "plain_cbp", "toy_extractor"]


class PlainCBP:
    """Continual backpropagation of one layer in plain loops.

    Dohare et al., Nature 2024, algorithm 1, on Python's float64.
    """

    def __init__(self, units: int, rate: float, maturity: int, decay: float) -> None:
        self.rate, self.maturity, self.decay = rate, maturity, decay
        self.utility = [0.0] * units
        self.age = [0] * units
        self.accumulator = 0.0

    def step(self, activity: Sequence[float], outgoing: Sequence[Sequence[float]]) -> list[int]:
        """Return the units to re-initialise after one more step, in order."""
        for unit, weights in enumerate(outgoing):
            self.age[unit] += 1
            contribution = float(activity[unit]) * sum(abs(float(weight)) for weight in weights)
            self.utility[unit] *= self.decay
            self.utility[unit] += (1 - self.decay) * contribution
        self.accumulator += self.rate * sum(age > self.maturity for age in self.age)
        replaced = []
        while self.accumulator >= 1:
            least, chosen = math.inf, -1
            for unit, age in enumerate(self.age):
                if age > self.maturity:
                    corrected = self.utility[unit] / (1 - self.decay**age)
                    if corrected < least:
                        least, chosen = corrected, unit
            self.utility[chosen], self.age[chosen] = 0.0, 0
            self.accumulator -= 1
            replaced.append(chosen)
        return replaced


class ToyExtractor:
    """Features without a transformer: the image's first numbers, moved by every prefix entry."""

    logits = 0  # it has no classifier

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor:
        feature = images.flatten(1)[:, : self.dim]
        for layer, prefix in (prefixes or {}).items():
            place = torch.arange(prefix[0].numel()).view(prefix.shape[1:]).to(prefix.dtype)
            push = (prefix * torch.cos(place + layer)).sum(dim=(1, 2))
            feature = feature + torch.tanh(feature.roll(layer + 1, dims=1)) * push
        return feature

    def parts(self, images: Tensor, prefixes: Mapping | None, names: Sequence[str]) -> list[Tensor]:
        """Every feature is the pooled one, rolled by its place among the names, at its own size."""
        pooled = self(images, prefixes)
        sizes = [feature_size(name, self.dim) for name in names]
        return [
            pooled.roll(place, dims=1).repeat(1, size // self.dim + 1)[:, :size]
            for place, size in enumerate(sizes)
        ]

    def with_attention(
        self, images: Tensor, prefixes: Mapping[int, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Two heads attend to a token as much as their own half of its key is like the image."""
        received = {}
        for layer, prefix in prefixes.items():
            keys = prefix.detach()[0, 0].unflatten(-1, (2, -1)).transpose(0, 1)
            shown = images.flatten(1)[:, : keys.shape[2]]
            received[layer] = torch.sigmoid(torch.einsum("hld,bd->bhl", keys, shown))
        return self(images, prefixes), received


def plain_vit(vit: torch.nn.Module, image: Tensor, prefix: Mapping[int, Tensor]) -> Tensor:
    """Return a ViT's final CLS feature [D] of one image, head by head.

    ``prefix`` gives a layer's prefix keys and values, [2, length, D].
    """
    tokens = vit.patch_embed.proj(image[None]).flatten(2)[0].T
    tokens = torch.cat([vit.cls_token[0], tokens]) + vit.pos_embed[0]
    for layer, block in enumerate(vit.blocks):
        query, key, value = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=1)
        if layer in prefix:
            key = torch.cat([prefix[layer][0], key])
            value = torch.cat([prefix[layer][1], value])
        split = (part.chunk(block.attn.num_heads, dim=1) for part in (query, key, value))
        heads = []
        for q, k, v in zip(*split, strict=True):
            heads.append(torch.softmax(q @ k.T / math.sqrt(q.shape[1]), dim=1) @ v)
        tokens = tokens + block.attn.proj(torch.cat(heads, dim=1))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return vit.norm(tokens)[0]


def plain_feature(backbone: Backbone | ToyExtractor, image: Tensor, prefix: dict) -> Tensor:
    """Return one image's prompted feature [D], of root mean square 1."""
    if isinstance(backbone, ToyExtractor):
        feature = backbone(image[None], {layer: value[None] for layer, value in prefix.items()})[0]
    else:
        feature = plain_vit(backbone.vit, image, prefix)
    return feature / torch.linalg.norm(feature) * math.sqrt(backbone.dim)


def plain_activation(config, hidden: Tensor) -> Tensor:
    return hidden.clamp(min=0) if config.block.activation == "relu" else hidden


def plain_logits(
    backbone: Backbone | ToyExtractor, config, parameters: Mapping[str, Tensor], image: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return one image's logits [C] and the block's activations [H].

    ``parameters`` has the trainables' names and shapes, the pools' entry being the image's own.
    """

    def through_block(feature: Tensor) -> tuple[Tensor, Tensor]:
        w_in, b_in, w_out = (parameters[f"block.{n}"][0] for n in ("w_in", "b_in", "w_out"))
        hidden = plain_activation(config, w_in.T @ feature + b_in)
        return feature + config.block.gate * (w_out.T @ hidden), hidden

    prefix = {layer: parameters["prompts.g"][i] for i, layer in enumerate(config.prompts.g_layers)}
    for i, layer in enumerate(config.prompts.e_layers):
        prefix[layer] = parameters["prompts.e"][0, i]
    feature, hidden = plain_feature(backbone, image, prefix), None
    rows = list(parameters["head.weight"])
    if config.block is not None:
        feature, hidden = through_block(feature)
        if config.block.objective == "residual" and config.head.kind == "cosine":
            rows = [through_block(row)[0] for row in rows]
    if config.head.kind == "linear":
        return torch.stack([row @ feature for row in rows]) + parameters["head.bias"], hidden
    cosines = [F.cosine_similarity(feature, row, dim=0) for row in rows]
    return config.head.scale * torch.stack(cosines), hidden


def plain_loss(
    backbone: Backbone | ToyExtractor,
    config,
    parameters: Mapping[str, Tensor],
    centres: Tensor,
    members: Sequence[int],
    image: Tensor,
    query: Tensor,
    label: int,
) -> tuple[Tensor, bool, Tensor | None]:
    """Return one image's loss, whether its class came first, and the block's activations [H].

    ``members`` are the current task's classes, ``centres`` [C, D] the class means.
    """
    residual = config.block is not None and config.block.objective == "residual"
    constant = {n: p.detach() if residual and "block" in n else p for n, p in parameters.items()}
    logits, hidden = plain_logits(backbone, config, constant, image)
    among = torch.stack([logits[member] for member in members])
    loss = F.cross_entropy(among[None], torch.tensor([members.index(label)]))
    if "prompts.key" in parameters:
        cosine = F.cosine_similarity(query, parameters["prompts.key"][0], dim=0)
        loss = loss - config.prompts.key_weight * cosine
    if residual:
        apart = query - centres[label]
        incoming = parameters["block.w_in"][0].T @ apart + parameters["block.b_in"][0]
        hidden = plain_activation(config, incoming)
        loss = loss + F.mse_loss(-(parameters["block.w_out"][0].T @ hidden), apart)
    return loss, members[int(among.argmax())] == label, hidden


@pytest.fixture(scope="session")
def plain_cbp() -> type[PlainCBP]:
    """Continual backpropagation of one layer in plain loops."""
    return PlainCBP


@pytest.fixture(scope="session")
def toy_extractor() -> type[ToyExtractor]:
    """A feature extractor of any width that computes next to nothing."""
    return ToyExtractor


@pytest.fixture(scope="session")
def network() -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The prompted network of one image, written independently."""
    return plain_logits


@pytest.fixture(scope="session")
def image_loss() -> Callable[..., tuple[Tensor, bool, Tensor | None]]:
    """The loss of one image, written independently."""
    return plain_loss


@pytest.fixture(scope="session")
def micro_backbone() -> Callable[[torch.dtype], Backbone]:
    """The micro ViT with random weights, the same in every precision."""

    def build(dtype: torch.dtype = torch.float32) -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            backbone = load_backbone("vit_micro_patch8_32", pretrained=False)
        for name, value in backbone.named_parameters():
            if name.endswith(("qkv.weight", "proj.weight")):
                value *= 4  # as initialised, attention is almost uniform whatever the prefix keys
        return backbone.to(dtype)

    return build
