"""The learner in PyTorch on a model, for the peers that are made of it."""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.step import Model, Step
from cbpnet.backbone import vit
from cbpnet.backbone.presets import choose_preset
from cbpnet.backbone.vit import Backbone
from cbpnet.method.learner import Learner

__all__ = ["LossModule", "build_learner", "load_backbone"]


def load_backbone(model: Model) -> Backbone:
    """Return a model's backbone; random weights are the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = Path(model.weights) if model.weights else None
        return vit.load_backbone(model.backbone, weights, model.image_size, pretrained=False)


def build_learner(model: Model) -> Learner:
    """Return CBPNet on a model with the preset's configuration."""
    trunk = load_backbone(model)
    preset = choose_preset(trunk.name, trunk.dim, trunk.depth, trunk.parameters_without_head)
    return Learner(trunk, preset.config("cbpnet"), model.classes, model.tasks)


class LossModule(nn.Module):
    """A step's loss as a module whose parameters are the trainables, in the learner's order.

    That is the form in which runtimes with a training path of their own take a network. It takes
    images, queries and labels, and gives the summed loss.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._learner, self._state = build_learner(step.model), step.state
        self.backbone = self._learner.backbone
        self.trained = nn.ParameterDict(
            {
                name.replace(".", "_"): nn.Parameter(value.clone())
                for name, value in self._learner.trained(step.state).items()
            }
        )

    def forward(self, images: Tensor, query: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a micro-batch, a tensor without axes."""
        leaves = {name: self.trained[name.replace(".", "_")] for name in self._learner.trainables}
        targets = self._learner.targets(self._state, labels)
        return self._learner.loss(self._state, leaves, images, query, targets)[0]
