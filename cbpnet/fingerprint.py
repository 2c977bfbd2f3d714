"""Short checksums that tell whether two runs have the same weights and the same images."""

import hashlib
from pathlib import PurePath

import torch
from torch import nn

from cbpnet.data.stream import TaskStream

__all__ = ["fingerprint_stream", "fingerprint_weights"]

_DIGITS = 16


def fingerprint_weights(module: nn.Module) -> str:
    """Return 16 hexadecimal digits for a module's parameters and buffers, names and bytes.

    Of a module without memory (on the meta device) there are only names and shapes to tell.
    """
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        if not value.is_meta:
            digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_DIGITS]


def fingerprint_stream(stream: TaskStream) -> str:
    """Return 16 hexadecimal digits for a stream's tasks: their classes and images, by name.

    An image file's folder is left out, so that a data set that has been moved is the same.
    """
    digest = hashlib.sha256()
    for task in stream.tasks:
        for source, indices, labels in (
            (stream.train_source, task.train, task.train_labels),
            (stream.test_source, task.test, task.test_labels),
        ):
            digest.update(b"\n")
            for index, label in zip(indices, labels, strict=True):
                image = PurePath(source.name(int(index))).name
                digest.update(
                    f"{stream.class_names[label]}\0{image}\0".encode(errors="surrogateescape")
                )
    return digest.hexdigest()[:_DIGITS]
