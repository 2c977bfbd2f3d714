"""Loss of plasticity: does a block that has learnt hundreds of tasks still learn the next as well?

After Continual ImageNet (Dohare et al., "Loss of plasticity in deep continual learning", Nature
2024): a long stream of two-class tasks, pairs of classes drawn at random, each with a new linear
head, while the CBP block is carried on from task to task. What counts is the accuracy on held-out
images of a pair right after learning it. Features are a frozen backbone's, computed once; prompts
and readout have no part in it.

The step is the learner's: the same block, clipping, Adam (afresh in every task) and continual
backpropagation, with many runs side by side on the first axis of every tensor.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.adam import adam_step, clip_factor
from cbpnet.method.block import (
    BLOCK_PARAMETERS,
    replace_units,
)
from cbpnet.method.cbp import UnitStatistics
from cbpnet.method.config import CBPConfig, OptimiserConfig
from cbpnet.method.initial import initial_incoming
from cbpnet.method.layout import MOMENTS
from cbpnet.run.metrics import Matrix
from cbpnet.run.training import TrainingConfig
from cbpnet.study.diagnosis import Diagnosis, block_outputs, diagnose

__all__ = [
    "Form",
    "PairConfig",
    "PairFeatures",
    "PairRuns",
    "PairTask",
    "Variant",
    "pair_tasks",
    "run_pairs",
]

Form = Literal["residual", "bottleneck"]
Progress = Callable[[int], object]

# The independent random streams of a seed.
TASKS, WEIGHTS = 0, 1

TRAINABLES = (*BLOCK_PARAMETERS, "head.weight", "head.bias")


@dataclass(frozen=True)
class PairFeatures:
    """Normalised features of every class: ``train`` [C, N, D] and held-out ``test`` [C, M, D]."""

    train: Tensor
    test: Tensor


@dataclass(frozen=True)
class PairConfig:
    """What all variants share: the stream's length, the network's form, training and step size.

    "residual" is the learner's form: a linear head on the feature plus the block's output. In the
    form "bottleneck" the head sees the block's output alone, whose outgoing weights then start
    random; that is the network of the Nature paper, which has no way around its hidden units.
    ``lr`` is Adam's rate for block and head.
    """

    tasks: int
    hidden: int
    form: Form = "residual"
    lr: float = 1e-2
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name in ("tasks", "hidden"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        if self.form not in get_args(Form):
            raise InputError(
                f"form is {self.form!r}; it must be one of {', '.join(get_args(Form))}"
            )
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr is {self.lr}; it must be a number above 0")


@dataclass(frozen=True)
class Variant:
    """One of the things compared: what happens to the block.

    It is "carried" on from task to task, with continual backpropagation where ``cbp`` has a rate;
    "fresh" in every task, which is what a block without a past can learn; or "frozen" as it
    started, so that only the head learns.
    """

    cbp: CBPConfig
    block: Literal["carried", "fresh", "frozen"] = "carried"


@dataclass(frozen=True)
class PairTask:
    """A pair's batches, ``features`` [steps, B, D] and ``labels`` [steps, B], and its test images.

    ``test`` [2M, D] holds M images of label 0, then M of label 1.
    """

    features: Tensor
    labels: Tensor
    test: Tensor


@dataclass(frozen=True)
class PairRuns:
    """A variant on all seeds: the accuracy [S, T] in [0, 1] on each pair right after learning it.

    ``diagnoses`` were made after the first task, the middle one and the last.
    """

    accuracy: Matrix
    diagnoses: tuple[Diagnosis, ...]


def pair_tasks(features: PairFeatures, config: PairConfig, seed: int) -> Iterator[PairTask]:
    """Yield the tasks that a seed draws, the same for every variant."""
    stream = RandomStream(seed, TASKS)
    classes, images = features.train.shape[:2]
    labels = torch.arange(2).repeat_interleave(images)
    batch = config.training.batch_size
    for _ in range(config.tasks):
        pair = torch.from_numpy(stream.permutation(classes))[:2]
        epochs = [stream.permutation(2 * images) for _ in range(config.training.epochs)]
        order = torch.from_numpy(np.concatenate(epochs))
        order = order[: len(order) // batch * batch].view(-1, batch)
        yield PairTask(
            features.train[pair].flatten(0, 1)[order],
            labels[order],
            features.test[pair].flatten(0, 1),
        )


def run_pairs(
    features: PairFeatures,
    config: PairConfig,
    variants: Mapping[str, Variant],
    seeds: Sequence[int],
    progress: Progress = lambda tasks: None,
) -> dict[str, PairRuns]:
    """Learn each seed's stream of tasks in every variant, by name; ``progress`` counts tasks.

    All runs learn side by side and none depends on another. Raises `InputError` where there are
    fewer than two classes or no whole batch of images.
    """
    _check(features, config)
    runs = _Runs(tuple(variants.values()), seeds, config, features.train.shape[-1])
    streams = [pair_tasks(features, config, seed) for seed in seeds]
    accuracies, diagnoses = [], []
    for number, tasks in enumerate(zip(*streams, strict=True), start=1):
        runs.learn(tasks)
        accuracies.append(runs.accuracies(tasks))
        if number in {1, -(-config.tasks // 2), config.tasks}:
            diagnoses.append(runs.diagnose(number, features.test.flatten(0, 1)))
        progress(1)
    accuracy = torch.stack(accuracies, dim=1).chunk(len(variants))
    return {
        name: PairRuns(accuracy[index].numpy(), tuple(each[index] for each in diagnoses))
        for index, name in enumerate(variants)
    }


def _check(features: PairFeatures, config: PairConfig) -> None:
    classes, images = features.train.shape[:2]
    if classes < 2:
        raise InputError(f"the data set has {classes} class; tasks are pairs of classes")
    available = 2 * images * config.training.epochs
    if available < config.training.batch_size:
        raise InputError(
            f"batch_size is {config.training.batch_size}; a task takes only {available} images"
        )


class _Runs:
    """R runs side by side, each variant's seeds next to each other."""

    def __init__(
        self, variants: Sequence[Variant], seeds: Sequence[int], config: PairConfig, dim: int
    ) -> None:
        self.variants, self.config, self.dim = variants, config, dim
        self.streams = [[RandomStream(seed, WEIGHTS) for seed in seeds] for _ in variants]
        self.trained = torch.tensor([float(v.block != "frozen") for v in variants for _ in seeds])
        # By variant: the tensors and the unit statistics of its runs.
        self.tensors: list[dict[str, Tensor]] = [{} for _ in variants]
        self.statistics = [self._new_block(index) for index in range(len(variants))]

    def learn(self, tasks: Sequence[PairTask]) -> None:
        """Learn one task in every run: ``tasks`` has each seed's."""
        for index, variant in enumerate(self.variants):
            if variant.block == "fresh":
                self.statistics[index] = self._new_block(index)
            self.tensors[index] = _begin_task(self.tensors[index])
        features, labels = (
            torch.stack(each * len(self.variants), dim=1)
            for each in ([t.features for t in tasks], [t.labels for t in tasks])
        )
        for step, (batch, targets) in enumerate(zip(features, labels, strict=True), start=1):
            self._step(batch, targets, step)

    def accuracies(self, tasks: Sequence[PairTask]) -> Tensor:
        """Return every run's accuracy [R] on the held-out images of its task."""
        test = torch.stack([task.test for task in tasks] * len(self.variants))
        guesses = _networks(_join(self.tensors), self.config.form, test)[0].argmax(dim=2)
        labels = torch.arange(2).repeat_interleave(test.shape[1] // 2)
        return (guesses == labels).double().mean(dim=1)

    def diagnose(self, number: int, images: Tensor) -> list[Diagnosis]:
        """Return each variant's diagnosis over some images [N, D]."""
        return [diagnose(number, tensors, images) for tensors in self.tensors]

    def _step(self, batch: Tensor, targets: Tensor, step: int) -> None:
        parts = len(self.variants)
        tensors = _join(self.tensors)
        gradients, activity = _gradients(tensors, self.config.form, batch, targets, self.trained)
        tensors = _descend(tensors, gradients, step, self.config.lr)
        for index, (part, active) in enumerate(
            zip(_split(tensors, parts), activity.chunk(parts), strict=True)
        ):
            cbp = self.variants[index].cbp
            shape = (cbp.max_replacements(self.config.hidden), self.dim)
            noise = np.stack([each.uniform(*shape) for each in self.streams[index]], axis=1)
            self.tensors[index], self.statistics[index] = replace_units(
                part, self.statistics[index], active, torch.from_numpy(noise), cbp
            )

    def _new_block(self, index: int) -> UnitStatistics:
        """Give a variant's runs a new block, its outgoing weights as the form asks."""
        streams, hidden = self.streams[index], self.config.hidden
        noise = torch.from_numpy(np.stack([each.uniform(hidden, self.dim) for each in streams]))
        units, outgoing = torch.zeros(len(noise), hidden), torch.zeros_like(noise)
        if self.config.form == "bottleneck":
            draws = np.stack([each.uniform(self.dim, hidden) for each in streams])
            outgoing = initial_incoming(torch.from_numpy(draws)).mT
        tensors = (initial_incoming(noise).mT, units, outgoing)
        self.tensors[index] = dict(zip(BLOCK_PARAMETERS, tensors, strict=True))
        return UnitStatistics(units, units, torch.zeros(len(noise)))


def _begin_task(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the blocks with a new head for two classes, and Adam's moments at zero."""
    runs, _, dim = tensors["block.w_out"].shape
    values = {name: tensors[name] for name in BLOCK_PARAMETERS}
    values |= {"head.weight": torch.zeros(runs, 2, dim), "head.bias": torch.zeros(runs, 2)}
    moments = {
        prefix + name: torch.zeros_like(value)
        for prefix in MOMENTS
        for name, value in values.items()
    }
    return values | moments


def _join(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _split(tensors: Mapping[str, Tensor], parts: int) -> list[dict[str, Tensor]]:
    split = {name: value.chunk(parts) for name, value in tensors.items()}
    return [{name: value[index] for name, value in split.items()} for index in range(parts)]


# The clipping factors [R] of R runs, each by its own gradients' norm.
_clip_factors: Callable[[list[Tensor], float], Tensor] = torch.vmap(clip_factor, in_dims=(0, None))


def _networks(tensors: Mapping[str, Tensor], form: Form, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the runs' logits [R, B, 2] and hidden activations [R, B, H] of features [R, B, D]."""
    output, hidden = block_outputs(*(tensors[name] for name in BLOCK_PARAMETERS), features)
    if form == "residual":
        output = features + output
    return output @ tensors["head.weight"].mT + tensors["head.bias"].unsqueeze(1), hidden


def _gradients(
    tensors: Mapping[str, Tensor], form: Form, features: Tensor, labels: Tensor, trained: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradients of the runs' mean cross-entropy, and the units' mean activity [R, H].

    Those of a block that is not ``trained`` [R] are 0.
    """
    leaves = {name: tensors[name].detach().requires_grad_() for name in TRAINABLES}
    logits, hidden = _networks(leaves, form, features)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    found = torch.autograd.grad(losses / labels.shape[1], list(leaves.values()))
    gradients = dict(zip(TRAINABLES, found, strict=True))
    for name in BLOCK_PARAMETERS:
        gradients[name] = _each(trained, gradients[name]) * gradients[name]
    return gradients, hidden.detach().mean(dim=1)


def _descend(
    tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor], step: int, lr: float
) -> dict[str, Tensor]:
    """Return the tensors after clipping, to each run's own global norm, and a step of Adam."""
    factors = _clip_factors(list(gradients.values()), OptimiserConfig.max_norm)
    count, rate = torch.tensor([float(step)]), torch.tensor([lr])
    changed = {}
    for name, gradient in gradients.items():
        m, v = (moment + name for moment in MOMENTS)
        clipped = _each(factors, gradient) * gradient
        changed[name], changed[m], changed[v] = adam_step(
            tensors[name], clipped, tensors[m], tensors[v], count, rate
        )
    return changed


def _each(runs: Tensor, like: Tensor) -> Tensor:
    """Return a number for each run [R] in a shape that broadcasts over a tensor [R, ...]."""
    return runs.view(-1, *[1] * (like.dim() - 1))
