"""One table of many methods over the same tasks, images and seeds.

A run that has ended is kept in the folder ``runs`` of the output, so that an interrupted benchmark
goes on where it stopped; a run kept under other settings is refused and not mixed in.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Never, Protocol, TypeVar

import torch
from tqdm import tqdm

from cbpnet.backbone.presets import count_trainables
from cbpnet.backbone.vit import Backbone
from cbpnet.data.dataset import Dataset
from cbpnet.data.stream import Holdout, TaskStream, fingerprint_stream, make_stream
from cbpnet.host.atomic import make_folder
from cbpnet.host.progress import expect, progress_bar
from cbpnet.method.config import AdaptationKind, LearnerConfig
from cbpnet.method.eager import EagerLearner, EagerOnePass
from cbpnet.method.layout import count_parameters, state_layout
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.contender import LearnerContender
from cbpnet.run.metrics import MethodKind, RunResult
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import (
    Contender,
    ProtocolRecord,
    TaskOutcome,
    check_every_task_is_tested,
    run_protocol,
)
from cbpnet.run.queries import Queries, query_stream
from cbpnet.run.result_store import ResultStore
from cbpnet.run.training import TrainingConfig
from cbpnet.study.methods import LEARNERS, ONE_PASS, PEERS, VARIANTS, adapting, check_methods
from cbpnet.study.oracle import OracleContender
from cbpnet.study.peer_contender import PeerContender

__all__ = ["ComparisonProtocol", "run_benchmark"]

_Method = TypeVar("_Method")
_Key = TypeVar("_Key")


class _Counting(Contender, Protocol):
    """A contender that knows how many images are to come."""

    def images_to_come(self) -> int: ...


@dataclass(frozen=True)
class ComparisonProtocol:
    """What all methods of a benchmark share, beside backbone and data set.

    ``epochs`` are each learner's own where None; one-pass learners keep ``keep`` pictures a class.
    """

    classes_per_task: int | tuple[int, ...]
    train_per_class: int | None
    test_per_class: int | None
    class_order: str
    holdout: Holdout
    epochs: int | None = None
    batch_size: int = 10
    flip: bool = False
    keep: int = 0
    projection_size: int = 2000

    def training(self, config: LearnerConfig) -> TrainingConfig:
        """Return how a learner is trained."""
        return TrainingConfig.of(config, self.epochs, self.batch_size, self.flip)

    def stream(self, dataset: Dataset, seed: int) -> TaskStream:
        """Return the tasks that a seed draws."""
        order: Any = self.class_order
        return make_stream(
            dataset,
            self.classes_per_task,
            self.train_per_class,
            self.test_per_class,
            seed,
            order,
            self.holdout,
        )


def run_benchmark(
    backbone: Backbone,
    dataset: Dataset,
    protocol: ComparisonProtocol,
    cbpnet: LearnerConfig,
    one_pass: LearnerConfig,
    methods: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    settings: Mapping[str, object],
) -> list[RunResult]:
    """Run each method on each seed and return the results, method after method.

    ``cbpnet`` and ``one_pass`` are the learners that methods vary, the latter in its adaptation and
    readout. ``settings`` identify the benchmark, with weights, images and learners: before anything
    runs, a run in ``folder`` that was kept under others is refused with `InputError`, and so are an
    unknown method, a stream that cannot be drawn, a task without test images, and a folder that
    cannot be written to. Progress bars go to standard error.
    """
    methods, seeds = list(dict.fromkeys(methods)), list(dict.fromkeys(seeds))
    check_methods(methods)
    make_folder(folder / "runs")
    settings = {
        **settings,
        "protocol": asdict(protocol),
        "cbpnet": cbpnet,
        "one-pass": one_pass,
        "weights": backbone.weights_fingerprint,
    }
    results: dict[tuple[str, int], RunResult] = {}
    to_run = []
    for seed in seeds:
        bench = _SeedBenchmark(backbone, dataset, protocol, cbpnet, one_pass, seed)
        images = fingerprint_stream(bench.stream)
        store = ResultStore(folder / "runs", {**settings, "images": images}, ProtocolRecord)
        found = {method: store.find(_name(method, seed)) for method in methods}
        for method, record in found.items():
            if record is not None:
                results[method, seed] = bench.result(method, record)
        missing = [method for method in methods if found[method] is None]
        to_run += [(bench, store, missing)] if missing else []
    for bench, store, missing in to_run:
        for method, record in bench.run(missing):
            store.keep(_name(method, bench.seed), record)
            results[method, bench.seed] = bench.result(method, record)
    return [results[method, seed] for method in methods for seed in seeds]


def _name(method: str, seed: int) -> str:
    return f"{method}-seed{seed}"


class _SeedBenchmark:
    """All methods on the stream of one seed; the query features are computed once."""

    def __init__(
        self,
        backbone: Backbone,
        dataset: Dataset,
        protocol: ComparisonProtocol,
        cbpnet: LearnerConfig,
        one_pass: LearnerConfig,
        seed: int,
    ) -> None:
        self.backbone, self.protocol, self.seed = backbone, protocol, seed
        self.cbpnet, self.one_pass = cbpnet, one_pass
        self.stream = protocol.stream(dataset, seed)
        check_every_task_is_tested(self.stream)

    def run(self, methods: Sequence[str]) -> Iterator[tuple[str, ProtocolRecord]]:
        """Run the methods, each record as it is there; those that train alike share a run."""
        if not set(methods) <= set(ONE_PASS):
            queries = self._compute_queries()
        for method in methods:
            if method in PEERS:
                yield method, self._run_peer(method, queries)
        for variant, names in _groups(methods, LEARNERS, lambda one: one.variant).items():
            record = self._run_variant(variant, names, queries)
            yield from ((name, record) for name in names)
        for alike, names in _groups(
            methods, ONE_PASS, lambda one: (one.adaptation, one.anew)
        ).items():
            record = self._run_one_pass(*alike, names)
            yield from ((name, record) for name in names)

    def result(self, method: str, record: ProtocolRecord) -> RunResult:
        """Return a method's result, with what its configuration says about it."""
        result = record.result(method, self.stream, self.seed)
        if method in PEERS:
            return replace(result, kind=PEERS[method].kind)
        config = self._config(method)
        budget = count_trainables(config, self.backbone.dim, self.backbone.parameters_without_head)
        extra: dict[str, object] = {"statistics_bytes": self._statistics_bytes(config)}
        if method in LEARNERS:
            epoch_seconds = record.train_seconds / self.protocol.training(config).epochs
            extra["epoch_over_forward"] = epoch_seconds / record.query_seconds
        return replace(
            result,
            kind=_kind(method),
            trainable_share=budget.share if budget.trainable else None,
            extra=extra,
        )

    def _config(self, method: str) -> LearnerConfig:
        """Return the settings of a learner's method."""
        if method in LEARNERS:
            return VARIANTS[LEARNERS[method].variant](self.cbpnet)
        return adapting(self.one_pass, ONE_PASS[method].adaptation)

    def _compute_queries(self) -> Queries:
        tasks = self.stream.tasks
        images = sum(len(task.train) + len(task.test) for task in tasks)
        learner = self._learner(self.cbpnet)
        with self._bar("query features", images) as bar:
            return query_stream(learner, self.stream, self.backbone.preprocessing, bar.update)

    def _run_peer(self, method: str, queries: Queries) -> ProtocolRecord:
        peer = PEERS[method].build(
            self.backbone.dim,
            len(self.stream.class_names),
            self.protocol.projection_size,
            self.seed,
        )
        contender = PeerContender(method, peer, queries)
        return ProtocolRecord(tuple(run_protocol(contender, self.stream)), queries.train_seconds)

    def _run_variant(
        self, variant: str, methods: Sequence[str], queries: Queries
    ) -> ProtocolRecord:
        config = self._config(methods[0])
        contender = LearnerContender(
            self._learner(config),
            self.stream,
            self.backbone.preprocessing,
            self.protocol.training(config),
            self.seed,
            {method: LEARNERS[method].readout for method in methods},
            queries,
        )
        return ProtocolRecord(self._outcomes(variant, contender), queries.train_seconds)

    def _run_one_pass(
        self, adaptation: AdaptationKind, anew: bool, methods: Sequence[str]
    ) -> ProtocolRecord:
        config = self._config(methods[0])
        contender = OnePassContender(
            EagerOnePass(OnePassLearner(self.backbone, config, len(self.stream.class_names))),
            self.stream,
            self.backbone.preprocessing,
            self.protocol.training(config),
            self.seed,
            {method: ONE_PASS[method].readout for method in methods},
            self.protocol.keep,
        )
        title = f"adaptation {adaptation}"
        if anew:
            return ProtocolRecord(self._outcomes("oracle", OracleContender(contender)))
        return ProtocolRecord(self._outcomes(title, contender))

    def _outcomes(self, title: str, contender: _Counting) -> tuple[TaskOutcome, ...]:
        outcomes = []
        with self._bar(title, contender.images_to_come()) as bar:
            for outcome in run_protocol(contender, self.stream, bar.update):
                outcomes.append(outcome)
                expect(bar, contender.images_to_come())
        return tuple(outcomes)

    def _learner(self, config: LearnerConfig) -> EagerLearner:
        classes, tasks = len(self.stream.class_names), len(self.stream.tasks)
        return EagerLearner(Learner(self.backbone, config, classes, tasks))

    def _statistics_bytes(self, config: LearnerConfig) -> int:
        """Return the size of what the learner counts and does not train: statistics, readout."""
        layout = state_layout(
            config, self.backbone.dim, len(self.stream.class_names), len(self.stream.tasks)
        )
        return count_parameters(layout, "classes", "readout") * torch.float32.itemsize

    def _bar(self, title: str, images: int) -> "tqdm[Never]":
        return progress_bar(f"seed {self.seed}: {title}", images)


def _groups(
    methods: Sequence[str], table: Mapping[str, _Method], key: Callable[[_Method], _Key]
) -> dict[_Key, list[str]]:
    """Return the methods of a table by what they share, in the order of the table."""
    groups: dict[_Key, list[str]] = {}
    for name, method in table.items():
        if name in methods:
            groups.setdefault(key(method), []).append(name)
    return groups


def _kind(method: str) -> MethodKind:
    """Return what a learner's numbers may be compared with."""
    if method in ONE_PASS and ONE_PASS[method].anew:
        return MethodKind.UPPER_BOUND
    adapts = method in LEARNERS or ONE_PASS[method].adaptation != "never"
    return MethodKind.GRADIENT if adapts else MethodKind.CLOSED_FORM
