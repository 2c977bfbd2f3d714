"""What the tests of the learner share: plain references, and extractors to learn on."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone import Backbone, load_backbone


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

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor:
        feature = images.flatten(1)[:, : self.dim]
        for layer, prefix in (prefixes or {}).items():
            place = torch.arange(prefix[0].numel()).view(prefix.shape[1:]).to(prefix.dtype)
            push = (prefix * torch.cos(place + layer)).sum(dim=(1, 2))
            feature = feature + torch.tanh(feature.roll(layer + 1, dims=1)) * push
        return feature


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


def plain_logits(
    backbone: Backbone | ToyExtractor, config, parameters: Mapping[str, Tensor], image: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return one image's logits [C], its feature [D] and the block's activations [H].

    ``parameters`` has the trainables' names and shapes, the pools' entry being the image's own.
    """
    prompts = config.prompts
    prefix = {}
    for i, layer in enumerate(prompts.g_layers):
        prefix[layer] = parameters["prompts.g"][i]
    for i, layer in enumerate(prompts.e_layers):
        prefix[layer] = parameters["prompts.e"][0, i]
    feature = plain_feature(backbone, image, prefix)
    final, hidden = feature, None
    if config.block is not None:
        w_in, b_in, w_out = (parameters[f"block.{n}"][0] for n in ("w_in", "b_in", "w_out"))
        hidden = (w_in.T @ feature + b_in).clamp(min=0)
        final = feature + config.block.gate * (w_out.T @ hidden)
    weight = parameters["head.weight"]
    if config.head.kind == "linear":
        return weight @ final + parameters["head.bias"], feature, hidden
    cosines = [F.cosine_similarity(final, row, dim=0) for row in weight]
    return config.head.scale * torch.stack(cosines), feature, hidden


@pytest.fixture(scope="session")
def plain_cbp() -> type[PlainCBP]:
    """Continual backpropagation of one layer in plain loops."""
    return PlainCBP


@pytest.fixture(scope="session")
def toy_extractor() -> type[ToyExtractor]:
    """A feature extractor of any width that computes next to nothing."""
    return ToyExtractor


@pytest.fixture(scope="session")
def network() -> Callable[..., tuple[Tensor, Tensor, Tensor | None]]:
    """The prompted network of one image, written independently."""
    return plain_logits


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
