"""What a bundle says of itself. Nothing here needs a runtime, or torch."""

from dataclasses import dataclass
from typing import Any

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import Counted, Layout
from cbpnet.run.state_info import StateInfo

__all__ = [
    "BackboneInfo",
    "Limits",
    "Manifest",
    "MethodInfo",
    "StateTensor",
    "TensorInfo",
]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor that a method takes or gives; ``dtype`` is "float32" or "int64"."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StateTensor:
    """A tensor of the learner's state, all of which are fp32.

    ``counts`` is what its first axis counts, "classes" or "tasks", if either: a host appends
    entries to it where a state gets more capacity, and drops one where a class is forgotten.
    """

    name: str
    shape: tuple[int, ...]
    counts: Counted | None


@dataclass(frozen=True)
class MethodInfo:
    """A method's tensors in the order in which they are passed, and where its arithmetic runs.

    ``undelegated`` counts the operators outside the delegates by name; ``macs`` are the
    multiply-accumulates of one call, ``undelegated_macs`` those among them outside the delegates.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    delegate_calls: int
    undelegated: dict[str, int]
    macs: int
    undelegated_macs: int


@dataclass(frozen=True)
class BackboneInfo:
    """The backbone's timm name, size without head, width D and fp32 weights' fingerprint."""

    name: str
    parameters: int
    dim: int
    weights: str


@dataclass(frozen=True)
class Limits:
    """What a bundle asks of its host at most.

    ``planned_bytes`` is the memory that a method plans for its tensors, of the method that plans
    the most; inputs, and what a delegate takes besides, are not in it.
    """

    planned_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    ``classes`` and ``tasks`` are the capacity, ``class_names`` the labels that `initial_state`
    knows, by class number. Images are [``micro_batch``, 3, ``image_size``, ``image_size``].
    ``trainable_parameters`` are prompts and block, ``trainable_fraction`` their share of the
    backbone's; the head is in neither. ``state`` is the layout, in order; ``adaptation`` is that of
    what a one-pass learner trains and throws away, and empty where it trains nothing.
    """

    target: str
    target_options: dict[str, str]
    precision: str
    backbone: BackboneInfo
    preprocessing: Preprocessing
    config: LearnerConfig
    classes: int
    tasks: int
    class_names: tuple[str, ...]
    micro_batch: int
    image_size: int
    trainable_parameters: int
    trainable_fraction: float
    head_parameters: int
    state: tuple[StateTensor, ...]
    adaptation: tuple[StateTensor, ...]
    methods: dict[str, MethodInfo]
    limits: Limits
    quantisation: dict[str, Any] | None
    versions: dict[str, str]

    @property
    def layout(self) -> Layout:
        """The layout of the state's tensors."""
        return {tensor.name: tensor.shape for tensor in self.state}

    def state_info(self, class_names: tuple[str, ...], progress: dict[str, Any]) -> StateInfo:
        """Return what a state of this bundle's learner says of itself."""
        return StateInfo(
            backbone=self.backbone.name,
            weights=self.backbone.weights,
            dim=self.backbone.dim,
            preprocessing=self.preprocessing,
            config=self.config,
            classes=self.classes,
            tasks=self.tasks,
            class_names=class_names,
            progress=progress,
        )
