"""What a learner's state belongs to, and whether it fits another learner."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import Layout, state_layout

__all__ = ["StateInfo", "check_fit"]


@dataclass(frozen=True)
class StateInfo:
    """What a state belongs to and how far it has come.

    ``backbone`` is its timm name, ``weights`` the `fingerprint_weights` of its fp32 weights and
    ``dim`` its width D; ``classes`` and ``tasks`` are the capacity.
    ``class_names`` are the labels of the known classes, by class number. ``progress`` is for
    whoever resumes: any JSON object, for instance the seed and the finished tasks.
    """

    backbone: str
    weights: str
    dim: int
    preprocessing: Preprocessing
    config: LearnerConfig
    classes: int
    tasks: int
    class_names: tuple[str, ...]
    progress: dict[str, Any]

    @property
    def layout(self) -> Layout:
        """The layout of the state's tensors."""
        return state_layout(self.config, self.dim, self.classes, self.tasks)


def check_fit(found: StateInfo, expected: StateInfo) -> None:
    """Raise `InputError`, naming both sides, unless a state can go on as ``expected`` says.

    Backbone, weights, preprocessing, settings and capacity must be equal; class names and
    progress may differ.
    """
    for name, theirs, ours in _differences(found, expected):
        if name not in ("class_names", "progress"):
            raise InputError(
                f"the state was made with {name} {theirs!r}, this learner has {ours!r}; "
                "they must be equal"
            )


def _differences(found: Any, expected: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted name and both values of every field in which two dataclasses differ."""
    for field in fields(found):
        theirs, ours = getattr(found, field.name), getattr(expected, field.name)
        if is_dataclass(theirs) and is_dataclass(ours):
            yield from _differences(theirs, ours, f"{prefix}{field.name}.")
        elif theirs != ours:
            yield prefix + field.name, theirs, ours
