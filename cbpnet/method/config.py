"""Every setting of a learner, in groups that the state file and the bundle carry along."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from cbpnet.host.errors import InputError

__all__ = [
    "BlockActivation",
    "BlockConfig",
    "BlockObjective",
    "CBPConfig",
    "HeadConfig",
    "HeadKind",
    "LearnerConfig",
    "OptimiserConfig",
    "PromptConfig",
    "ReadoutConfig",
    "ReadoutKind",
]

BlockActivation = Literal["relu", "identity"]
BlockObjective = Literal["residual", "classification"]
HeadKind = Literal["linear", "cosine"]
ReadoutKind = Literal["none", "means", "rls"]


@dataclass(frozen=True)
class CBPConfig:
    """Settings of continual backpropagation.

    ``replacement_rate`` is the share of mature units replaced a step, in [0, 1]; 0 is plain
    backpropagation. ``maturity`` is the age in steps that a unit must exceed before it can be
    replaced. ``decay`` is the utility's running-average factor, in [0, 1).
    """

    replacement_rate: float = 1e-4
    maturity: int = 100
    decay: float = 0.99

    def max_replacements(self, units: int) -> int:
        """Return the most units of one layer that one step can replace.

        The accumulator enters a step below 1 and grows by at most ``replacement_rate * units``.
        """
        return math.ceil(self.replacement_rate * units)


@dataclass(frozen=True)
class PromptConfig:
    """DualPrompt's prompts: where they stand, how long they are, how they start.

    Prompts start uniform in [-``init_range``, ``init_range``]; a key starts at its task's mean
    query. ``key_weight`` is the weight of the key-matching loss. Without layers there are no
    prompts.
    """

    g_layers: tuple[int, ...] = (0, 1)
    g_length: int = 5
    e_layers: tuple[int, ...] = (2, 3, 4)
    e_length: int = 5
    init_range: float = 0.1
    key_weight: float = 1.0


@dataclass(frozen=True)
class BlockConfig:
    """The CBP block ``z' = z + gate * f(z W_in + b_in) W_out`` of ``hidden`` units.

    ``objective`` is what trains it. "classification" is the plain form, the cross-entropy.
    "residual" is ours: the block learns to cancel what images of one class differ in, on the query
    features, and ``gate`` in (0, 1] is the share of it that is taken away. ``activation`` is f.
    """

    hidden: int
    objective: BlockObjective = "residual"
    gate: float = 0.4
    activation: BlockActivation = "identity"


@dataclass(frozen=True)
class HeadConfig:
    """The classifier: "linear", or "cosine" with logits ``scale * cos(z', w)`` and no bias.

    A cosine head's rows start at the mean query of their class, a linear head's at zero.
    """

    kind: HeadKind = "cosine"
    scale: float = 10.0


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam's learning rates for prompts and keys, block and head, and the gradient norm's bound."""

    prompt_lr: float = 1e-2
    block_lr: float = 3e-3
    head_lr: float = 2e-3
    max_norm: float = 1.0


@dataclass(frozen=True)
class ReadoutConfig:
    """The closed-form readout of the query features, fused with the prompted network's scores.

    "means" scores by the cosine to the class means, "rls" by ridge regression solved by recursive
    least squares with ``regularisation``, on the query and ``features`` random features of it.
    ``weight`` multiplies its scores before they are added to the log-softmax of the prompted
    network.
    """

    kind: ReadoutKind = "rls"
    weight: float = 3.0
    regularisation: float = 100.0
    features: int = 0


@dataclass(frozen=True)
class LearnerConfig:
    """All settings of a learner; ``block=None`` is DualPrompt.

    Raises ``InputError`` for a value out of its range.
    """

    prompts: PromptConfig = field(default_factory=PromptConfig)
    block: BlockConfig | None = None
    cbp: CBPConfig = field(default_factory=CBPConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)

    def __post_init__(self) -> None:
        prompts, optimiser, cbp, readout = self.prompts, self.optimiser, self.cbp, self.readout
        for name in ("g_layers", "e_layers"):
            layers = getattr(prompts, name)
            holds = len(set(layers)) == len(layers) and min(layers, default=0) >= 0
            _require(f"prompts.{name}", layers, holds, "different layers, counted from 0")
        apart = not set(prompts.g_layers) & set(prompts.e_layers)
        _require("prompts.g_layers", prompts.g_layers, apart, f"disjoint from {prompts.e_layers}")
        for name, value in (("g_length", prompts.g_length), ("e_length", prompts.e_length)):
            _require(f"prompts.{name}", value, value >= 1, "at least 1")
        for name in ("init_range", "key_weight"):
            _require_finite(f"prompts.{name}", getattr(prompts, name))
        for name in ("prompt_lr", "block_lr", "head_lr"):
            _require_finite(f"optimiser.{name}", getattr(optimiser, name))
        _require("optimiser.max_norm", optimiser.max_norm, optimiser.max_norm > 0, "above 0")
        rate = cbp.replacement_rate
        _require("cbp.replacement_rate", rate, 0 <= rate <= 1, "in [0, 1]")
        _require("cbp.maturity", cbp.maturity, cbp.maturity >= 0, "0 or more steps")
        _require("cbp.decay", cbp.decay, 0 <= cbp.decay < 1, "in [0, 1)")
        scale = self.head.scale
        _require("head.scale", scale, 0 < scale < math.inf, "a number above 0")
        _require_choice("head.kind", self.head.kind, get_args(HeadKind))
        _require_choice("readout.kind", readout.kind, get_args(ReadoutKind))
        _require_finite("readout.weight", readout.weight)
        _require("readout.features", readout.features, readout.features >= 0, "0 or more")
        ridge = readout.regularisation
        _require("readout.regularisation", ridge, 0 < ridge < math.inf, "a number above 0")
        if self.block is not None:
            _require("block.hidden", self.block.hidden, self.block.hidden >= 1, "at least 1")
            _require("block.gate", self.block.gate, 0 < self.block.gate <= 1, "in (0, 1]")
            _require_choice("block.objective", self.block.objective, get_args(BlockObjective))
            _require_choice("block.activation", self.block.activation, get_args(BlockActivation))


def _require_finite(name: str, value: float) -> None:
    _require(name, value, 0 <= value < math.inf, "a number of 0 or more")


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(name, value, value in choices, f"one of {', '.join(choices)}")


def _require(name: str, value: object, holds: bool, right: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value!r}; it must be {right}")
