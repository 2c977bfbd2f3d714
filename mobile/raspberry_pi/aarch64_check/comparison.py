"""How far a session is from what was written down of its course, and how far it may be."""

import json
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

import numpy as np

from cbpnet.run.state_file import load_state
from cbpnet.run.state_info import StateInfo
from mobile.raspberry_pi.aarch64_check.session import ANSWERS, LESSONS, STATE

__all__ = ["LIMITS", "Distance", "Limits", "measure"]


@dataclass(frozen=True)
class Limits:
    """How far a session may be from what it is held to.

    Attributes:
        state: largest distance of a tensor of the state, as a share of the tensor's norm.
        agreement: least share of the pictures that are taken for the same class.
        probability: largest difference of a class's probability.
    """

    state: float
    agreement: float
    probability: float


# In int8 a tie or a scale's last bit is rounded otherwise on another processor, and Adam, which
# divides by the gradient's size, makes a step of it. A gradient with the wrong sign puts some
# tensor at 1 or beyond.
LIMITS = Limits(2e-2, 1.0, 5e-3)


@dataclass(frozen=True)
class Distance:
    """How far a session is from what it is held to, in the terms of `Limits`.

    ``state`` has the distance of every tensor; ``same_record`` says whether classes, settings and
    lessons in the state file are the same.
    """

    state: dict[str, float]
    same_record: bool
    agreement: float
    probability: float

    @property
    def furthest(self) -> str:
        """The name of the tensor with the largest distance, NaN being larger than any."""
        return max(self.state, key=lambda name: (isnan(self.state[name]), self.state[name]))

    def faults(self, limits: Limits = LIMITS) -> list[str]:
        """Return a sentence for each limit that is exceeded; NaN exceeds every limit."""
        faults = []
        off = sum(not distance <= limits.state for distance in self.state.values())
        if off:
            faults.append(
                f"{off} of {len(self.state)} tensors of the state are off by more than "
                f"{limits.state:g}, {self.furthest} by {self.state[self.furthest]:.2g}"
            )
        if not self.same_record:
            faults.append("the state file names other classes, settings or lessons")
        if not self.agreement >= limits.agreement:
            faults.append(
                f"{self.agreement:.1%} of the predictions agree, at least {limits.agreement:.0%} "
                "is right"
            )
        if not self.probability <= limits.probability:
            faults.append(
                f"a probability is off by {self.probability:.2g}, at most {limits.probability:g} "
                "is right"
            )
        return faults

    def __str__(self) -> str:
        return (
            f"state within {self.state[self.furthest]:.1e} ({self.furthest}), "
            f"{self.agreement:.1%} of the predictions agree, "
            f"probabilities within {self.probability:.1e}"
        )


def measure(found: Path, course: Path) -> Distance:
    """Return how far what a session wrote to a folder is from what was written down of its course.

    Raises:
        InputError: a state cannot be read.
        OSError: answers are missing.
    """
    lessons = json.loads((course / LESSONS).read_text(encoding="utf-8"))["lessons"]
    state, record = load_state(found / STATE)
    reference, expected = load_state(course / f"state_{len(lessons) - 1}.safetensors")
    distances = {}
    for name, value in reference.items():
        exact = value.astype(np.float64)
        size, distance = (float(np.linalg.norm(x)) for x in (exact, state[name] - exact))
        distances[name] = distance / size if size else distance
    answers = json.loads((found / ANSWERS).read_text(encoding="utf-8"))
    same, differences = [], []
    for written in lessons[-1]["predictions"]:
        answer, other = answers[written["picture"]], dict(written["ranking"])
        same.append(max(answer, key=answer.__getitem__) == max(other, key=other.__getitem__))
        differences += [abs(answer[name] - other[name]) for name in other]
    return Distance(
        distances,
        _record(record) == _record(expected),
        sum(same) / len(same),
        float(np.max(differences)),
    )


def _record(info: StateInfo) -> StateInfo:
    """Return what sessions of one course have in common: not when, nor how often it was saved."""
    return replace(info, progress={"lessons": info.progress["lessons"]})
