"""Writes a step's loss and gradients in TensorFlow and converts them for LiteRT.

LiteRT trains what TensorFlow differentiated, and takes no PyTorch network's gradients: the plain
ViT and the learner's loss stand here once more. The trainables are inputs, as in a bundle; as
variables they would be taken for constants. TensorFlow's exact GELU has no operator there in the
backward pass: it is the tanh form, which is close enough to have the same gradients.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.pytorch_learner import build_learner
from benchmarks.step import Step
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.learner import MASKED, Learner

__all__ = ["make"]

_BLOCK = ("block.w_in", "block.b_in", "block.w_out")


def make(step: Step, variant: str, path: Path) -> None:
    """Write the forward and backward pass of one image as a `.tflite` program."""
    learner = build_learner(step.model)
    _check(learner.config, step)
    starts = {name: value.numpy() for name, value in learner.trained(step.state).items()}
    images, query, _ = step.batch(0)
    specification = [
        tf.TensorSpec(images.shape[1:], name="image"),
        tf.TensorSpec(query.shape, name="query"),
        tf.TensorSpec([1, step.model.classes], name="target"),
        *(tf.TensorSpec(value.shape, name=_plain(name)) for name, value in starts.items()),
    ]
    loss = _Loss(learner, step)

    @tf.function(input_signature=specification)  # type: ignore[untyped-decorator]
    def gradients(image: Any, query: Any, target: Any, *values: Any) -> dict[str, Any]:
        trained = dict(zip(starts, values, strict=True))
        with tf.GradientTape() as tape:
            for value in values:
                tape.watch(value)
            found = loss(image, query, target, trained)
        changes = tape.gradient(found, list(values))
        return {_plain(name): change for name, change in zip(starts, changes, strict=True)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [gradients.get_concrete_function()],
        tf.Module(),  # without any the program has no names for what it takes and gives
    )
    path.write_bytes(converter.convert())


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _check(config: LearnerConfig, step: Step) -> None:
    """Raise `InputError` for a learner whose loss does not stand here."""
    block = config.block
    holds = block and (block.objective, block.activation) == ("residual", "identity")
    if not holds or config.head.kind != "cosine" or step.model.micro_batch != 1:
        raise InputError(
            "the loss in TensorFlow is that of the presets, for one image: a block with the "
            "residual objective, a cosine head, micro-batch 1"
        )


class _Loss:
    """The learner's loss of one image."""

    def __init__(self, learner: Learner, step: Step) -> None:
        self._config, self._step = learner.config, step
        self._trunk = _Trunk(learner.backbone)

    def __call__(self, image: Any, query: Any, target: Any, trained: Mapping[str, Any]) -> Any:
        config, state, prompts = self._config, self._step.state, self._config.prompts
        assert config.block is not None
        member = (state["classes.task"] == state["tasks.current"]).float().numpy()
        target = target * member
        prefixes = _prefixes(trained["prompts.g"], prompts.g_layers)
        prefixes |= _prefixes(trained["prompts.e"], prompts.e_layers)
        fixed = {name: tf.stop_gradient(trained[name]) for name in _BLOCK}
        feature = _unit(self._trunk(image, prefixes)) * query.shape[1] ** 0.5
        feature += config.block.gate * _block(feature, fixed)
        rows = trained["head.weight"] + config.block.gate * _block(trained["head.weight"], fixed)
        cosines = tf.matmul(_unit(feature), _unit(rows), transpose_b=True)
        logits = config.head.scale * cosines + (1.0 - member) * MASKED
        match = tf.reduce_sum(_unit(query) * _unit(trained["prompts.key"]))
        residual = query - tf.matmul(target, state["classes.mean"].numpy())
        left = tf.square(residual + _block(residual, trained))
        loss = -tf.reduce_sum(target * tf.nn.log_softmax(logits)) - prompts.key_weight * match
        return loss + tf.reduce_sum(tf.reduce_mean(left, 1))


class _Trunk:
    """The plain ViT of `cbpnet.backbone.vit.Backbone` on one image, weights and all."""

    def __init__(self, backbone: Any) -> None:
        self._weights = {name: value.numpy() for name, value in backbone.vit.state_dict().items()}
        self._depth, self._heads = backbone.depth, backbone.heads
        self._patch = backbone.vit.patch_embed.patch_size[0]
        self._eps = backbone.vit.norm.eps

    def __call__(self, image: Any, prefixes: Mapping[int, tuple[Any, Any]]) -> Any:
        """Return the feature [1, D] of an image [3, S, S]."""
        weights, patch = self._weights, self._patch
        channels, grid = image.shape[0], image.shape[1] // patch
        split = tf.reshape(image, (channels, grid, patch, grid, patch))
        patches = tf.reshape(tf.transpose(split, (1, 3, 0, 2, 4)), (grid**2, -1))
        kernel = weights["patch_embed.proj.weight"]
        embedded = tf.matmul(patches, kernel.reshape(len(kernel), -1), transpose_b=True)
        tokens = tf.concat(
            [weights["cls_token"][0], embedded + weights["patch_embed.proj.bias"]], 0
        )
        tokens += weights["pos_embed"][0]
        for layer in range(self._depth):
            name = f"blocks.{layer}"
            attended = self._attend(self._norm(tokens, f"{name}.norm1"), name, prefixes.get(layer))
            tokens += attended
            hidden = self._linear(self._norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1")
            tokens += self._linear(_gelu(hidden), f"{name}.mlp.fc2")
        return tf.split(self._norm(tokens, "norm"), [1, grid**2], axis=0)[0]

    def _attend(self, tokens: Any, name: str, prefix: tuple[Any, Any] | None) -> Any:
        query, key, value = tf.split(self._linear(tokens, f"{name}.attn.qkv"), 3, axis=1)
        width = query.shape[1] // self._heads
        if prefix is not None:
            key, value = tf.concat([prefix[0], key], 0), tf.concat([prefix[1], value], 0)

        def heads(rows: Any) -> Any:
            return tf.transpose(tf.reshape(rows, (-1, self._heads, width)), (1, 0, 2))

        scores = tf.matmul(heads(query) * width**-0.5, heads(key), transpose_b=True)
        mixed = tf.matmul(tf.nn.softmax(scores), heads(value))
        joined = tf.reshape(tf.transpose(mixed, (1, 0, 2)), (-1, self._heads * width))
        return self._linear(joined, f"{name}.attn.proj")

    def _linear(self, rows: Any, name: str) -> Any:
        product = tf.matmul(rows, self._weights[f"{name}.weight"], transpose_b=True)
        return product + self._weights[f"{name}.bias"]

    def _norm(self, rows: Any, name: str) -> Any:
        centred = rows - tf.reduce_mean(rows, -1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        normalised = centred * tf.math.rsqrt(variance + self._eps)
        return normalised * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + tf.tanh(np.float32((2 / np.pi) ** 0.5) * (x + 0.044715 * x * x * x)))


def _unit(rows: Any) -> Any:
    return rows * tf.math.rsqrt(tf.reduce_sum(rows * rows, -1, keepdims=True) + 1e-24)


def _block(rows: Any, trained: Mapping[str, Any]) -> Any:
    into, bias, out = (trained[name] for name in _BLOCK)
    hidden = tf.matmul(rows, tf.reshape(into, into.shape[1:])) + bias
    return tf.matmul(hidden, tf.reshape(out, out.shape[1:]))


def _prefixes(pool: Any, layers: Sequence[int]) -> dict[int, tuple[Any, Any]]:
    """Return each layer's keys and values; by a split, whose gradient LiteRT has."""
    rows = tf.split(tf.reshape(pool, (-1, pool.shape[-1])), 2 * len(layers), axis=0)
    return {layer: (rows[2 * i], rows[2 * i + 1]) for i, layer in enumerate(layers)}
