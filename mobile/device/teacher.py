"""What an application's learner needs of each kind of bundle: to classify, and to be taught."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cbpnet.host.arrays import Array
from cbpnet.method.state import HostState
from cbpnet.run.advice import Advice
from cbpnet.run.training import Progress, TrainingConfig
from mobile.device.images import ImageLike
from mobile.device.lessons import Forecast, Knowledge, Lesson
from mobile.device.manifest import Manifest

__all__ = ["Answers", "Teacher", "Teaching"]


@dataclass(frozen=True)
class Teaching:
    """How images are learnt, as `mobile.device.runtime.OnDeviceLearner.learn` describes it."""

    epochs: int | None
    batch_size: int
    seed: int | None
    task: int | None
    keep: int | None
    progress: Progress
    prepared: Progress
    decided: Callable[[Forecast], object]
    advise: Callable[[Advice], object]
    source: str
    journal: int | None

    def training(self, manifest: Manifest) -> TrainingConfig:
        """Return how a bundle is trained: shown as many images at once as its program takes."""
        wanted = TrainingConfig.of(manifest.config, self.epochs, self.batch_size)
        return replace(wanted, micro_batch=manifest.micro_batch)


@dataclass(frozen=True)
class Answers:
    """What B images are taken for.

    ``probabilities`` are of classes [B, C]; ``unknown`` [B] are the images' unknown scores, and
    ``tasks`` the numbers, counted from 1, of the tasks whose prompts were used. A learner of tasks
    has no unknown scores, and another one no tasks.
    """

    probabilities: Array
    unknown: Sequence[float | None]
    tasks: Sequence[int | None]


class Teacher(Protocol):
    """A bundle's program with what is done on a device around it."""

    def stored_state(self) -> HostState:
        """Return the state in the bundle."""

    def classify(self, state: HostState, images: Array) -> Answers:
        """Return what normalised images are taken for."""

    def teach(
        self, before: Knowledge, images: Mapping[str, Sequence[ImageLike]], how: Teaching
    ) -> tuple[Knowledge, list[Lesson]]:
        """Return what is known after learning images by label, and the lessons."""
