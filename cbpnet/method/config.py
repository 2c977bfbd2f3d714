"""Every setting of a learner, in groups that the state file and the bundle carry along."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import check_features

__all__ = [
    "AdaptationConfig",
    "AdaptationKind",
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
ReadoutKind = Literal["none", "means", "rls", "whitened"]
AdaptationKind = Literal["auto", "first", "always", "never", "cbpnet"]


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
    prompts. ``replacement_rate`` is continual backpropagation's with the G-prompt's tokens as
    units, in [0, 1]; maturity and decay are those of `CBPConfig`.
    """

    g_layers: tuple[int, ...] = (0, 1)
    g_length: int = 5
    e_layers: tuple[int, ...] = (2, 3, 4)
    e_length: int = 5
    init_range: float = 0.1
    key_weight: float = 1.0
    replacement_rate: float = 0.0


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
    """The closed-form readout.

    "means" scores by the cosine to the class means, "rls" by ridge regression to one-hot targets
    with ``regularisation``, "whitened" by the cosine in the metric of the classes' pooled scatter.

    CBPNet's stands on the query features and ``features`` random features of them, and its scores
    are added, times ``weight``, to the log-softmax of the prompted network. The one-pass learner's
    is the classifier, and chooses a whitened one's prior among ``priors`` and the scale of its
    softmax among ``scales`` by leave-one-out; a prior is in multiples of what the features weigh.
    """

    kind: ReadoutKind = "rls"
    weight: float = 3.0
    regularisation: float = 100.0
    features: int = 0
    priors: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    scales: tuple[float, ...] = (
        *(0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4),
        *(1.7, 2.0, 2.4, 2.8, 3.4, 4.0),
    )


@dataclass(frozen=True)
class AdaptationConfig:
    """When and how the features are adapted to a lesson.

    "cbpnet" is the paper's learner: prompts, block and head are trained on every task. All other
    kinds are the one-pass learner's: the G-prompt is trained on the "first" lesson that has two
    classes, on "always" every such lesson or "never".

    "auto" never trains it on a lesson of less than ``fewest_classes``, 2 or more: what tells a few
    classes apart says little of others. Nor where the lesson has less than a ``share`` of the
    classes known beside its own, which an adaptation harms. Of the other lessons it trains on the
    first one, and later where the images are foreign to the backbone: where the pretrained
    classifier's greatest probability is below ``confidence`` on average, in [0, 1]. A backbone
    without a classifier goes by the lesson's leave-one-out accuracy, which has to be below
    ``accuracy``.

    ``epochs`` are passes over a lesson's images; the learning rates fall by a cosine to the share
    ``final_rate``, in [0, 1].
    """

    kind: AdaptationKind = "cbpnet"
    fewest_classes: int = 5
    share: float = 0.25
    confidence: float = 0.25
    accuracy: float = 0.85
    epochs: int = 6
    final_rate: float = 0.02


@dataclass(frozen=True)
class LearnerConfig:
    """All settings of a learner; ``block=None`` is DualPrompt.

    ``features`` are those that a one-pass learner counts, see `cbpnet.method.features`. Raises
    ``InputError`` for a value out of its range, or one that goes with the other kind of learner.
    """

    prompts: PromptConfig = field(default_factory=PromptConfig)
    block: BlockConfig | None = None
    cbp: CBPConfig = field(default_factory=CBPConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    features: tuple[str, ...] = ("pooled",)

    @property
    def one_pass(self) -> bool:
        """Whether this is the one-pass learner, and not the paper's."""
        return self.adaptation.kind != "cbpnet"

    @property
    def prompt_cbp(self) -> CBPConfig | None:
        """Continual backpropagation of the G-prompt's tokens; None where none is ever replaced."""
        rate = self.prompts.replacement_rate
        return replace(self.cbp, replacement_rate=rate) if rate > 0 else None

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
        rate = prompts.replacement_rate
        _require("prompts.replacement_rate", rate, 0 <= rate <= 1, "in [0, 1]")
        governed = bool(prompts.g_layers) and self.block is None
        right = "0 where there is a block or no G-prompt"
        _require("prompts.replacement_rate", rate, governed or rate == 0, right)
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
        self._check_adaptation()
        check_features(self.features)

    def _check_adaptation(self) -> None:
        adaptation, readout = self.adaptation, self.readout
        _require_choice("adaptation.kind", adaptation.kind, get_args(AdaptationKind))
        fewest, share = adaptation.fewest_classes, adaptation.share
        _require("adaptation.fewest_classes", fewest, fewest >= 2, "2 or more")
        _require("adaptation.share", share, 0 <= share < math.inf, "a number of 0 or more")
        for name in ("confidence", "accuracy", "final_rate"):
            value = getattr(adaptation, name)
            _require(f"adaptation.{name}", value, 0 <= value <= 1, "in [0, 1]")
        epochs = adaptation.epochs
        _require("adaptation.epochs", epochs, epochs >= 1, "at least 1")
        for name in ("priors", "scales"):
            values = getattr(readout, name)
            holds = bool(values) and all(0 < value < math.inf for value in values)
            _require(f"readout.{name}", values, holds, "one or more numbers above 0")
        if not self.one_pass:
            plain = self.features == ("pooled",)
            _require("features", self.features, plain, "('pooled',) where adaptation is cbpnet")
            _require_choice("readout.kind", readout.kind, ("none", "means", "rls"))
            return
        _require_choice("readout.kind", readout.kind, ("means", "rls", "whitened"))
        _require("block", self.block, self.block is None, "None unless adaptation is cbpnet")
        layers = self.prompts.e_layers
        _require("prompts.e_layers", layers, not layers, "() unless adaptation is cbpnet")
        prompted, kind = bool(self.prompts.g_layers), adaptation.kind
        _require(
            "prompts.g_layers",
            self.prompts.g_layers,
            prompted != (kind == "never"),
            "() where adaptation is never, and layers where it is not",
        )


def _require_finite(name: str, value: float) -> None:
    _require(name, value, 0 <= value < math.inf, "a number of 0 or more")


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(name, value, value in choices, f"one of {', '.join(choices)}")


def _require(name: str, value: object, holds: bool, right: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value!r}; it must be {right}")
