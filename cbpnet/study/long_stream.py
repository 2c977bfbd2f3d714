"""Do prompts that are adapted again and again still learn? One-pass learners on a long stream.

What a lesson's prompt tokens have become is all that the next adaptation starts from, so this is
where plasticity can be lost, and where continual backpropagation of tokens (Dohare et al., Nature
2024; `cbpnet.method.prompt_units`) can keep it. Contenders learn the same images with the same
prompts; what counts is the accuracy on each lesson right after it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cbpnet.backbone.vit import Backbone
from cbpnet.data.dataset import Dataset
from cbpnet.data.long_stream import (
    Lesson,
    LongStream,
    Pictures,
    fingerprint_long_stream,
    make_long_stream,
)
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.host.arrays import Array
from cbpnet.host.atomic import make_folder
from cbpnet.host.progress import progress_bar
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationKind, LearnerConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import HostState
from cbpnet.run.lesson import Reason, count_anew, learn_lesson
from cbpnet.run.result_store import ResultStore
from cbpnet.run.training import LessonImages, TrainingConfig, portions

__all__ = [
    "LessonRecord",
    "LongStreamProtocol",
    "StreamContender",
    "StreamRecord",
    "learn_stream",
    "run_long_stream",
    "stream_contenders",
]

PROBES = 20  # images a data set whose features are watched

# The random streams of a seed that the first state and fresh prompts draw from; those of lessons
# are their numbers from 1, with either sign.
_INITIAL, _FRESH = 0, 1_000_000


@dataclass(frozen=True)
class StreamContender:
    """When the prompt is adapted, and what becomes of its tokens.

    With ``any_number`` of classes "auto" adapts to every lesson whose images ask for it, however
    few those are. With a ``replacement_rate`` continual backpropagation replaces tokens.
    A ``fresh`` contender starts every adaptation from a new prompt, which has no past and so no
    loss of plasticity. An ``oracle`` has all images and counts them anew after each adaptation:
    what carrying the statistics costs is the distance to it.
    """

    kind: AdaptationKind
    any_number: bool = False
    replacement_rate: float = 0.0
    fresh: bool = False
    oracle: bool = False

    def config(self, config: LearnerConfig) -> LearnerConfig:
        """Return a one-pass learner's configuration with this contender's adaptation."""
        prompts = replace(config.prompts, replacement_rate=self.replacement_rate)
        if self.kind == "never":
            prompts = replace(prompts, g_layers=())
        adaptation = replace(config.adaptation, kind=self.kind)
        if self.any_number:
            adaptation = replace(adaptation, fewest_classes=2, share=0.0)
        return replace(config, prompts=prompts, adaptation=adaptation)


def stream_contenders(rates: Sequence[float]) -> dict[str, StreamContender]:
    """Return who is compared, by name, with tokens replaced at some ``rates`` in (0, 1]."""
    often: dict[str, StreamContender] = {}
    for name, one in (
        ("foreign", StreamContender("auto", any_number=True)),
        ("always", StreamContender("always")),
    ):
        often[name] = one
        often |= {f"{name}+cbp-{rate:g}": replace(one, replacement_rate=rate) for rate in rates}
    return {
        "never": StreamContender("never"),
        "first": StreamContender("first"),
        "auto": StreamContender("auto"),
        **often,
        "always+fresh": StreamContender("always", fresh=True),
        "always+oracle": StreamContender("always", oracle=True),
    }


@dataclass(frozen=True)
class LessonRecord:
    """What was measured after a lesson.

    ``left_out`` and ``confidence`` are what the decision looked at (`Decision`). ``accuracy`` and
    ``own_accuracy`` in [0, 1] are of the test images of the lesson's classes, among all known
    classes and among the lesson's. ``drift`` is how far the features of fixed images moved, as a
    share of their length. ``replaced`` counts the tokens that were replaced in the lesson.
    ``running`` is the accuracy, among all known classes, on the test images of all of a data set's
    known classes, by data set and for "all"; empty where it was not measured.
    """

    dataset: str
    classes: int
    reason: Reason
    adapted: bool
    left_out: float | None
    confidence: float | None
    accuracy: float
    own_accuracy: float
    drift: float
    replaced: int
    running: dict[str, float]


@dataclass(frozen=True)
class StreamRecord:
    """What was measured on a stream, lesson after lesson."""

    lessons: tuple[LessonRecord, ...]


@dataclass(frozen=True)
class LongStreamProtocol:
    """What all contenders share beside backbone and data sets, see `make_long_stream`.

    ``running_every`` is after how many lessons the running accuracy is measured; after the last one
    it always is.
    """

    lessons: int
    classes: tuple[int, int]
    train_per_class: int
    test_per_class: int
    running_every: int

    def stream(self, datasets: Sequence[Dataset], seed: int) -> LongStream:
        """Return the lessons that a seed draws."""
        return make_long_stream(
            datasets, self.lessons, self.classes, self.train_per_class, self.test_per_class, seed
        )


def run_long_stream(
    backbone: Backbone,
    datasets: Sequence[Dataset],
    protocol: LongStreamProtocol,
    config: LearnerConfig,
    training: TrainingConfig,
    compared: Mapping[str, StreamContender],
    seeds: Sequence[int],
    folder: Path,
    settings: Mapping[str, object],
) -> dict[str, list[StreamRecord]]:
    """Let each contender learn each seed's stream; return its records in the order of the seeds.

    Each run is kept in ``folder`` and not run again. ``settings`` identify them, with weights,
    images and configuration: before anything runs, a run that was kept under others is refused with
    `InputError`, and so are a stream that cannot be drawn and a folder that cannot be written to.
    Progress bars go to standard error.
    """
    make_folder(folder / "runs")
    common = {
        **settings,
        "protocol": asdict(protocol),
        "training": asdict(training),
        "weights": backbone.weights_fingerprint,
    }
    streams = {seed: protocol.stream(datasets, seed) for seed in seeds}
    stores: dict[tuple[str, int], ResultStore[StreamRecord]] = {}
    found: dict[tuple[str, int], StreamRecord | None] = {}
    for seed, stream in streams.items():
        drawn = {**common, "images": fingerprint_long_stream(stream)}
        for name, contender in compared.items():
            own = {**drawn, "contender": contender, "config": contender.config(config)}
            store = ResultStore(folder / "runs", own, StreamRecord)
            stores[name, seed], found[name, seed] = store, store.find(f"{name}-seed{seed}")
    records: dict[str, list[StreamRecord]] = {name: [] for name in compared}
    for seed, stream in streams.items():
        for name, contender in compared.items():
            record = found[name, seed]
            if record is None:
                with progress_bar(f"seed {seed}: {name}", protocol.lessons, "lesson") as bar:
                    record = learn_stream(
                        backbone,
                        stream,
                        contender,
                        config,
                        training,
                        protocol.running_every,
                        seed,
                        bar.update,
                    )
                stores[name, seed].keep(f"{name}-seed{seed}", record)
            records[name].append(record)
    return records


def learn_stream(
    backbone: Backbone,
    stream: LongStream,
    contender: StreamContender,
    config: LearnerConfig,
    training: TrainingConfig,
    running_every: int,
    seed: int,
    progress: Callable[[int], object] = lambda lessons: None,
) -> StreamRecord:
    """Let a contender learn a stream; ``progress`` counts lessons."""
    run = _Run(backbone, stream, contender, config, training, seed)
    records = []
    for number in range(len(stream.lessons)):
        running = (number + 1) % running_every == 0 or number + 1 == len(stream.lessons)
        records.append(run.learn(number, running))
        progress(1)
    return StreamRecord(tuple(records))


class _Run:
    """A contender on its way along a stream."""

    def __init__(
        self,
        backbone: Backbone,
        stream: LongStream,
        contender: StreamContender,
        config: LearnerConfig,
        training: TrainingConfig,
        seed: int,
    ) -> None:
        self.stream, self.contender, self.training, self.seed = stream, contender, training, seed
        self.preprocessing = backbone.preprocessing
        own, classes = contender.config(config), len(stream.class_names)
        self.learner = EagerOnePass(OnePassLearner(backbone, own, classes))
        self.state = self.learner.initial_state(RandomStream(seed, _INITIAL))
        self.probes = [_spread_out(pictures, PROBES) for pictures in stream.tests.values()]

    def learn(self, number: int, running: bool) -> LessonRecord:
        """Learn the next lesson and measure; the accuracy on all lessons only where ``running``."""
        lesson, before = self.stream.lessons[number], self.state
        outcome = learn_lesson(
            self.learner,
            before,
            self._images(lesson.train),
            self.preprocessing,
            self.training,
            self.seed,
            start=self._fresh(number) if self.contender.fresh else None,
        )
        self.state, adapted = outcome.state, outcome.decision.adapts
        if adapted and self.contender.oracle:
            known = self.stream.lessons[: number + 1]
            images = (self._images(one.train) for one in known)
            self.state = count_anew(self.learner, self.state, images, self.preprocessing)
        accuracy, own_accuracy = self._accuracies(lesson)
        return LessonRecord(
            lesson.dataset,
            len(lesson.classes),
            outcome.decision.reason,
            adapted,
            outcome.decision.accuracy,
            outcome.decision.confidence,
            accuracy,
            own_accuracy,
            self._drift(before) if adapted else 0.0,
            self._replaced(before, len(lesson.train.labels)) if adapted else 0,
            self._running() if running else {},
        )

    def _fresh(self, number: int) -> HostState:
        """Return a state with a prompt of a lesson's own."""
        return self.learner.initial_state(RandomStream(self.seed, _FRESH + number))

    def _accuracies(self, lesson: Lesson) -> tuple[float, float]:
        """Return the accuracy on a lesson's test images, among all classes and among its own."""
        pictures = self.stream.tests[lesson.dataset].of_classes(lesson.classes)
        scores, labels = self._scores(pictures), pictures.labels
        own = np.full_like(scores, -np.inf)
        own[:, lesson.classes] = scores[:, lesson.classes]
        return _share(scores.argmax(axis=1) == labels), _share(own.argmax(axis=1) == labels)

    def _running(self) -> dict[str, float]:
        known = self.state["classes.count"].nonzero()[0].tolist()
        right: dict[str, Array] = {}
        for name, tests in self.stream.tests.items():
            pictures = tests.of_classes(known)
            if len(pictures.labels):
                right[name] = self._scores(pictures).argmax(axis=1) == pictures.labels
        return {
            **{name: _share(each) for name, each in right.items()},
            "all": _share(np.concatenate(list(right.values()))),
        }

    def _drift(self, before: HostState) -> float:
        old, new = (
            np.concatenate([self._features(state, probes) for probes in self.probes])
            for state in (before, self.state)
        )
        moved, length = (np.linalg.norm(each, axis=1) for each in (new - old, old))
        return float((moved / length).mean())

    def _replaced(self, before: HostState, images: int) -> int:
        """Return how many tokens are younger than they would be, had they not been replaced."""
        if self.learner.config.prompt_cbp is None:
            return 0
        grown = before["cbp.prompt_age"] + self.training.steps(images)
        return int((self.state["cbp.prompt_age"] < grown).sum())

    def _scores(self, pictures: Pictures) -> Array:
        return self.learner.predict(self.state, self._features(self.state, pictures))[0]

    def _features(self, state: HostState, pictures: Pictures) -> Array:
        mean, std = self.preprocessing.mean, self.preprocessing.std
        return np.concatenate(
            [
                self.learner.features(state, normalise(pixels, mean, std))
                for pixels in portions(self._pixels(pictures))
            ]
        )

    def _images(self, pictures: Pictures) -> LessonImages:
        return LessonImages(self._pixels(pictures), pictures.labels)

    def _pixels(self, pictures: Pictures) -> Array:
        return load_batch(pictures.source, pictures.indices.tolist(), self.preprocessing)


def _spread_out(pictures: Pictures, most: int) -> Pictures:
    """Return at most so many images, at even distances."""
    step = -(-len(pictures.indices) // most)
    return Pictures(pictures.source, pictures.indices[::step], pictures.labels[::step])


def _share(right: Array) -> float:
    return float(right.mean())
