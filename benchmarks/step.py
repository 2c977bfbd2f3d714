"""The learning step that is measured: a backbone, images, a state in the middle of learning.

Every peer computes this step. It travels between processes as a file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cbpnet.method.layout import STATE, prefixed, unprefixed
from cbpnet.method.state import LearnerState

__all__ = ["Model", "Step", "load_step", "save_step"]


@dataclass(frozen=True)
class Model:
    """A backbone by its timm name, and the capacity and micro-batch of the learner on it.

    Without ``weights``, a file, they are random; ``image_size`` is in pixels.
    """

    backbone: str
    weights: str | None
    image_size: int
    classes: int = 100
    tasks: int = 20
    micro_batch: int = 1


@dataclass(frozen=True)
class Step:
    """Images [N, 3, S, S] with queries [N, D] and labels [N], a state and an update's noise."""

    model: Model
    images: Tensor
    query: Tensor
    labels: Tensor
    noise: Tensor
    state: LearnerState

    def batch(self, turn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a turn's micro-batch of images, queries and labels; they come again and again."""
        size = self.model.micro_batch
        rows = (torch.arange(size) + turn * size) % len(self.labels)
        return self.images[rows], self.query[rows], self.labels[rows]


def save_step(step: Step, path: Path) -> None:
    """Write a step to a file."""
    tensors: Mapping[str, Tensor] = {
        "images": step.images,
        "query": step.query,
        "labels": step.labels,
        "noise": step.noise,
    } | prefixed(STATE, step.state)
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    save_file(contiguous, path, {"model": json.dumps(asdict(step.model))})


def load_step(path: Path) -> Step:
    """Return what `save_step` wrote."""
    with safe_open(path, "pt") as file:
        model = Model(**json.loads(file.metadata()["model"]))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = unprefixed(STATE, tensors)
    layout = {name: tuple(value.shape) for name, value in state.items()}
    return Step(
        model,
        tensors["images"],
        tensors["query"],
        tensors["labels"],
        tensors["noise"],
        LearnerState(layout, state),
    )
