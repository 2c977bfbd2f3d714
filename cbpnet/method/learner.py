"""CBPNet as pure functions of an explicit state.

Every method takes a state and returns new tensors; nothing is kept between calls and nothing
branches on data. What a device runs is these functions, traced.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.adam import adam_step, clip_factor
from cbpnet.method.block import (
    BLOCK_PARAMETERS,
    BlockParameters,
    block_output,
    replace_units,
    residual_loss,
)
from cbpnet.method.cbp import UnitStatistics
from cbpnet.method.config import LearnerConfig, ReadoutKind
from cbpnet.method.features import normalise_feature
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import (
    MOMENTS,
    POOL_OF,
    noise_shape,
    part,
    state_layout,
    trainable_layout,
)
from cbpnet.method.prompt_units import attending, replace_tokens, token_contribution
from cbpnet.method.prompts import (
    gather_task,
    one_hot,
    prefixes,
    scatter_task,
    select_task,
)
from cbpnet.method.readout import observe_images, readout_scores
from cbpnet.method.rows import cosines, times_rows
from cbpnet.method.state import LearnerState
from cbpnet.method.tensors import as_tensors

__all__ = ["MASKED", "FeatureExtractor", "Learner"]

# Finite, so that a one-hot product with a masked log-probability is 0 and not NaN.
MASKED = -1e9


class FeatureExtractor(Protocol):
    """What a learner needs of a frozen backbone: see `cbpnet.backbone.vit.Backbone`."""

    @property
    def dim(self) -> int: ...

    @property
    def logits(self) -> int: ...

    def __call__(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor: ...

    def parts(
        self, images: Tensor, prefixes: Mapping[int, Tensor] | None, names: Sequence[str]
    ) -> list[Tensor]: ...


class Learner:
    """A frozen backbone, a configuration and a capacity: all that learning does not change.

    ``classes`` and ``tasks`` are the capacity C and T. Images are normalised, [B, 3, S, S]; queries
    are what `query` returned for the same images, [B, D]; labels are class numbers below C, [B].
    """

    def __init__(
        self, backbone: FeatureExtractor, config: LearnerConfig, classes: int, tasks: int
    ) -> None:
        self.backbone = backbone
        self.config = config
        self.classes = classes
        self.tasks = tasks
        self.trainables = trainable_layout(config, backbone.dim, classes)
        self.layout = state_layout(config, backbone.dim, classes, tasks)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the uniform random numbers in [0, 1) that `update` takes."""
        return noise_shape(self.config, self.backbone.dim)

    def initial_state(self, stream: RandomStream) -> LearnerState:
        """Return the state before any class is known; prompts and block draw from the stream."""
        drawn = draw_state(self.config, self.backbone.dim, self.classes, self.tasks, stream)
        return as_tensors(drawn)

    def query(self, images: Tensor) -> Tensor:
        """Return the query features [B, D]: the un-prompted backbone's, normalised."""
        return normalise_feature(self.backbone(images))

    def observe(self, state: LearnerState, query: Tensor, labels: Tensor) -> LearnerState:
        """Return the state with images counted into class means and readout, each image once.

        A label outside 0 to C - 1 marks padding, which changes nothing.
        """
        targets = one_hot(labels, self.classes).to(query.dtype)
        return state.replace(observe_images(self.config.readout, state, query, targets))

    def begin_task(self, state: LearnerState, task: Tensor, members: Tensor) -> LearnerState:
        """Return the state ready to learn a task whose images have been observed.

        ``task`` [1] is its number below T, ``members`` [C] is 1 for its classes. A new task's
        E-prompt starts as a copy of the one before, its key at the mean query, and a cosine head's
        new rows at their classes' mean queries. A known task goes on from where it was; new classes
        join it. Adam starts afresh.
        """
        changed = {
            # Not zeros_like, which a traced program would take the old moments for.
            name: torch.zeros(value.shape, dtype=value.dtype)
            for name, value in state.items()
            if part(name) == "adam"
        }
        changed["tasks.current"] = task.clone()
        chosen = one_hot(task, self.tasks)
        changed["tasks.known"] = torch.maximum(state["tasks.known"], chosen[0])
        added = (members > 0) & (state["classes.task"] < 0)
        changed["classes.task"] = torch.where(added, task, state["classes.task"])
        if self.config.head.kind == "cosine":
            changed["head.weight"] = torch.where(
                added.unsqueeze(1), state["classes.mean"], state["head.weight"]
            )
        if "prompts.e" in state:
            new = chosen * (1 - state["tasks.known"])
            before = one_hot((task - 1).clamp(min=0), self.tasks)
            start = gather_task(state["prompts.e"], before)
            changed["prompts.e"] = scatter_task(state["prompts.e"], new, start)
            weight = (members * state["classes.count"]).unsqueeze(0)
            key = weight @ state["classes.mean"] / weight.sum().clamp(min=1)
            changed["prompts.keys"] = scatter_task(state["prompts.keys"], new, key)
        return state.replace(changed)

    def predict(
        self,
        state: LearnerState,
        images: Tensor,
        query: Tensor,
        readout: ReadoutKind | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return class scores [B, C], -inf for unknown classes, and the one-hot task [B, T].

        Scores are log-probabilities, plus the readout's where there is one. The task is the one
        whose key is nearest to the query; its E-prompt was used. ``readout`` asks for another
        readout than the configured one; the state must hold its statistics.
        """
        scores, chosen = self.network_scores(state, images, query)
        return self.fuse(state, scores, query, readout or self.config.readout.kind), chosen

    def scores(
        self, state: LearnerState, images: Tensor, query: Tensor, readouts: Sequence[ReadoutKind]
    ) -> tuple[dict[ReadoutKind, Tensor], Tensor]:
        """Return `predict`'s answer with each of several readouts, from one pass of the network."""
        scores, chosen = self.network_scores(state, images, query)
        return {kind: self.fuse(state, scores, query, kind) for kind in readouts}, chosen

    def network_scores(
        self, state: LearnerState, images: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `predict`'s answer without any readout."""
        expert, chosen = None, torch.zeros(len(query), self.tasks)
        if "prompts.e" in state:
            chosen = select_task(query, state["prompts.keys"], state["tasks.known"])
            expert = gather_task(state["prompts.e"], chosen)
        feature = self._prompted_feature(images, state.get("prompts.g"), expert)
        unknown = state["classes.task"] < 0
        logits = self._logits(state, feature).masked_fill(unknown, MASKED)
        return logits.log_softmax(dim=1).masked_fill(unknown, -torch.inf), chosen

    def fuse(
        self, state: LearnerState, scores: Tensor, query: Tensor, readout: ReadoutKind
    ) -> Tensor:
        """Return the network's scores [B, C] with a readout's weighted scores added."""
        if readout == "none":
            return scores
        return scores + self.config.readout.weight * readout_scores(readout, state, query)

    def zero_sums(self) -> dict[str, Tensor]:
        """Return empty sums: one tensor a trainable, and the step's statistics.

        "activity" [1, H] sums the hidden units' mean activity |h|, "attention" [G layers, length]
        the contribution of the G-prompt's tokens (`token_contribution`), "loss", "correct" and
        "count" [1] the images' loss, right answers and number.
        """
        shapes = dict(self.trainables)
        if self.config.block is not None:
            shapes["activity"] = (1, self.config.block.hidden)
        if self.config.prompt_cbp is not None:
            prompts = self.config.prompts
            shapes["attention"] = (len(prompts.g_layers), prompts.g_length)
        shapes |= {"loss": (1,), "correct": (1,), "count": (1,)}
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    def trained(self, state: LearnerState) -> dict[str, Tensor]:
        """Return the trainables' values by name: of the pools, the current task's entry."""
        task = one_hot(state["tasks.current"], self.tasks)
        return {
            name: gather_task(state[POOL_OF[name]], task) if name in POOL_OF else state[name]
            for name in self.trainables
        }

    def targets(self, state: LearnerState, labels: Tensor) -> Tensor:
        """Return labels [B] as one-hot rows [B, C], of zeros for what the current task lacks."""
        targets = one_hot(labels, self.classes).to(state["head.weight"].dtype)
        return targets * (state["classes.task"] == state["tasks.current"])

    def loss(
        self,
        state: LearnerState,
        trained: Mapping[str, Tensor],
        images: Tensor,
        query: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return a micro-batch's summed loss [], the task's logits [B, C] and what its units do.

        The loss of an image is the cross-entropy among the current task's classes, minus
        ``key_weight`` times the cosine of its query and the task's key, plus the block's residual
        objective where the block has it. ``trained`` are the values that `trained` names,
        ``targets`` those of `targets`. Of each image the units of the block have an "activity" |h|
        [B, H], those of a G-prompt some of whose tokens are replaced an "attention"
        [B, G layers, length].
        """
        units: dict[str, Tensor] = {}
        if self.config.prompt_cbp is None:
            feature = self._prompted_feature(
                images, trained.get("prompts.g"), trained.get("prompts.e")
            )
        else:
            feature, units["attention"] = self._attended_feature(
                images, trained["prompts.g"], trained.get("prompts.e")
            )
        others = state["classes.task"] != state["tasks.current"]
        logits = self._logits(trained, feature).masked_fill(others, MASKED)
        loss = -(targets * logits.log_softmax(dim=1)).sum()
        if "prompts.key" in trained:
            match = cosines(query, trained["prompts.key"])
            weight = self.config.prompts.key_weight
            loss = loss - weight * (match * targets.sum(dim=1, keepdim=True)).sum()
        if self.config.block is not None:
            block, form = _block(trained), self.config.block
            if form.objective == "residual":
                extra, hidden = residual_loss(
                    block, query, targets, state["classes.mean"], form.activation
                )
                loss = loss + extra
            else:
                hidden = block_output(block, feature, form.activation)[1]
            units["activity"] = hidden.abs()
        return loss, logits, units

    def gradients(
        self,
        state: LearnerState,
        images: Tensor,
        query: Tensor,
        labels: Tensor,
        sums: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return the sums with a micro-batch of the current task's images added, by their `loss`.

        A label that the current task does not have marks padding, which adds nothing.
        """
        leaves = {
            name: value.detach().requires_grad_() for name, value in self.trained(state).items()
        }
        targets = self.targets(state, labels)
        loss, logits, units = self.loss(state, leaves, images, query, targets)
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        real = targets.sum(dim=1)
        right = (targets * one_hot(logits.argmax(dim=1), self.classes)).sum()
        added = dict(zip(leaves, found, strict=True))
        added |= {"loss": loss.detach(), "correct": right, "count": real.sum()}
        for name, value in units.items():
            shown = real.view(-1, *[1] * (value.dim() - 1))
            added[name] = (value.detach() * shown).sum(dim=0)
        return {name: value + added[name] for name, value in sums.items()}

    def update(
        self, state: LearnerState, sums: dict[str, Tensor], noise: Tensor, rate: Tensor
    ) -> LearnerState:
        """Return the state after one step: clipping, Adam, then continual backpropagation.

        ``noise`` is uniform in [0, 1), of `noise_shape`; ``rate`` [1] multiplies every learning
        rate. Sums over no image leave a gradient of zero.
        """
        count = sums["count"].clamp(min=1)
        mean = {name: sums[name] / count for name in self.trainables}
        factor = clip_factor(mean.values(), self.config.optimiser.max_norm)
        step = state["adam.step"] + 1
        changed = {"adam.step": step}
        for name, value in self.trained(state).items():
            m, v = (moment + name for moment in MOMENTS)
            changed[name], changed[m], changed[v] = adam_step(
                value, factor * mean[name], state[m], state[v], step, rate * self._rate(name)
            )
        task = one_hot(state["tasks.current"], self.tasks)
        for name, pool in POOL_OF.items():
            if name in changed:
                changed[pool] = scatter_task(state[pool], task, changed.pop(name))
        if self.config.block is not None:
            changed, after = replace_units(
                changed, _units(state, ""), sums["activity"] / count, noise, self.config.cbp
            )
            changed |= {f"cbp.{name}": value for name, value in vars(after).items()}
        if (cbp := self.config.prompt_cbp) is not None:
            changed, after = replace_tokens(
                changed,
                _units(state, "prompt_"),
                sums["attention"] / count,
                noise,
                self.config.prompts.init_range,
                cbp,
            )
            changed |= {f"cbp.prompt_{name}": value for name, value in vars(after).items()}
        return state.replace(changed)

    def _rate(self, name: str) -> float:
        """Return a trainable's own learning rate, by the part of the network that it belongs to."""
        settings = self.config.optimiser
        rates = {
            "prompts": settings.prompt_lr,
            "block": settings.block_lr,
            "head": settings.head_lr,
        }
        return rates[part(name)]

    def _prompted_feature(
        self, images: Tensor, g_prompt: Tensor | None, e_prompt: Tensor | None
    ) -> Tensor:
        """Return the prompted backbone's normalised feature [B, D]."""
        prompts = self.config.prompts
        prefix = prefixes(g_prompt, e_prompt, prompts.g_layers, prompts.e_layers)
        return normalise_feature(self.backbone(images, prefix))

    def _attended_feature(
        self, images: Tensor, g_prompt: Tensor, e_prompt: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return `_prompted_feature`, and the contribution of each token [B, G layers, length]."""
        prompts = self.config.prompts
        prefix = prefixes(g_prompt, e_prompt, prompts.g_layers, prompts.e_layers)
        feature, attention = attending(self.backbone).with_attention(images, prefix)
        shared = [attention[layer] for layer in prompts.g_layers]
        return normalise_feature(feature), token_contribution(shared, g_prompt.detach())

    def _logits(self, parameters: Mapping[str, Tensor], feature: Tensor) -> Tensor:
        """Return the logits [B, C] of features [B, D]: the block, then the head.

        A block with the residual objective is a map to a space in which images of one class lie
        closer together: a cosine head's rows, which are points among the features, go through it
        too, so that those of old classes keep up with it.
        """
        config, head = self.config.block, self.config.head
        weight = parameters["head.weight"]
        if config is not None and config.objective == "residual":
            block = _block(parameters).detach()
            feature = feature + config.gate * block_output(block, feature, config.activation)[0]
            if head.kind == "cosine":
                weight = weight + config.gate * block_output(block, weight, config.activation)[0]
        elif config is not None:
            block = _block(parameters)
            feature = feature + config.gate * block_output(block, feature, config.activation)[0]
        if head.kind == "linear":
            return times_rows(feature, weight) + parameters["head.bias"]
        return head.scale * cosines(feature, weight)


def _units(state: Mapping[str, Tensor], kind: Literal["", "prompt_"]) -> UnitStatistics:
    return UnitStatistics(*(state[f"cbp.{kind}{name}"] for name in UnitStatistics.__annotations__))


def _block(parameters: Mapping[str, Tensor]) -> BlockParameters:
    return BlockParameters(*(parameters[name] for name in BLOCK_PARAMETERS))
