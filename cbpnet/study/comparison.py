"""One table of many methods over the same tasks, images and seeds.

A run that has ended is kept in the folder ``runs`` of the output, so that an interrupted benchmark
goes on where it stopped; a run kept under other settings is refused and not mixed in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Never

import torch
from tqdm import tqdm

from cbpnet.backbone.presets import count_trainables
from cbpnet.backbone.vit import Backbone
from cbpnet.data.dataset import Dataset
from cbpnet.data.stream import Holdout, TaskStream, fingerprint_stream, make_stream
from cbpnet.host.atomic import make_folder
from cbpnet.host.progress import progress_bar
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import count_parameters, state_layout
from cbpnet.method.learner import Learner
from cbpnet.run.contender import LearnerContender
from cbpnet.run.metrics import MethodKind, RunResult
from cbpnet.run.protocol import ProtocolRecord, check_every_task_is_tested, run_protocol
from cbpnet.run.queries import Queries, query_stream
from cbpnet.run.result_store import ResultStore
from cbpnet.run.training import TrainingConfig
from cbpnet.study.methods import LEARNERS, PEERS, VARIANTS, check_methods
from cbpnet.study.peer_contender import PeerContender

__all__ = ["ComparisonProtocol", "run_benchmark"]


@dataclass(frozen=True)
class ComparisonProtocol:
    """What all methods of a benchmark share, beside backbone and data set."""

    classes_per_task: int | tuple[int, ...]
    train_per_class: int | None
    test_per_class: int | None
    class_order: str
    holdout: Holdout
    training: TrainingConfig
    projection_size: int = 2000

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
    config: LearnerConfig,
    methods: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    settings: Mapping[str, object],
) -> list[RunResult]:
    """Run each method on each seed and return the results, method after method.

    ``settings`` identify the benchmark, with weights and images: before anything runs, a run in
    ``folder`` that was kept under others is refused with `InputError`, and so are an unknown
    method, a stream that cannot be drawn, a task without test images, and a folder that cannot be
    written to. Progress bars go to standard error.
    """
    methods, seeds = list(dict.fromkeys(methods)), list(dict.fromkeys(seeds))
    check_methods(methods)
    make_folder(folder / "runs")
    settings = {
        **settings,
        "protocol": asdict(protocol),
        "weights": backbone.weights_fingerprint,
    }
    results: dict[tuple[str, int], RunResult] = {}
    to_run = []
    for seed in seeds:
        bench = _SeedBenchmark(backbone, dataset, protocol, config, seed)
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
        config: LearnerConfig,
        seed: int,
    ) -> None:
        self.backbone, self.protocol, self.config, self.seed = backbone, protocol, config, seed
        self.stream = protocol.stream(dataset, seed)
        check_every_task_is_tested(self.stream)

    def run(self, methods: Sequence[str]) -> Iterator[tuple[str, ProtocolRecord]]:
        """Run the methods, each record as it is there; those of one variant share its training."""
        tasks = self.stream.tasks
        images = sum(len(task.train) + len(task.test) for task in tasks)
        with self._bar("query features", images) as bar:
            queries = query_stream(
                self._learner(self.config), self.stream, self.backbone.preprocessing, bar.update
            )
        for method in methods:
            if method in PEERS:
                yield method, self._run_peer(method, queries)
        for variant in VARIANTS:
            names = [m for m in methods if m in LEARNERS and LEARNERS[m].variant == variant]
            if names:
                record = self._run_variant(variant, names, queries)
                yield from ((name, record) for name in names)

    def result(self, method: str, record: ProtocolRecord) -> RunResult:
        """Return a method's result, with what its configuration says about it."""
        result = record.result(method, self.stream, self.seed)
        if method in PEERS:
            return replace(result, kind=PEERS[method].kind)
        config = VARIANTS[LEARNERS[method].variant](self.config)
        budget = count_trainables(config, self.backbone.dim, self.backbone.parameters_without_head)
        epoch_seconds = record.train_seconds / self.protocol.training.epochs
        return replace(
            result,
            kind=MethodKind.GRADIENT,
            trainable_share=budget.share,
            extra={
                "epoch_over_forward": epoch_seconds / record.query_seconds,
                "statistics_bytes": self._statistics_bytes(config),
            },
        )

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
        contender = LearnerContender(
            self._learner(VARIANTS[variant](self.config)),
            self.stream,
            self.backbone.preprocessing,
            self.protocol.training,
            self.seed,
            {method: LEARNERS[method].readout for method in methods},
            queries,
        )
        with self._bar(variant, contender.images_to_come()) as bar:
            outcomes = tuple(run_protocol(contender, self.stream, bar.update))
        return ProtocolRecord(outcomes, queries.train_seconds)

    def _learner(self, config: LearnerConfig) -> Learner:
        return Learner(self.backbone, config, len(self.stream.class_names), len(self.stream.tasks))

    def _statistics_bytes(self, config: LearnerConfig) -> int:
        """Return the size of what the learner counts and does not train: class means, readout."""
        layout = state_layout(
            config, self.backbone.dim, len(self.stream.class_names), len(self.stream.tasks)
        )
        return count_parameters(layout, "classes", "readout") * torch.float32.itemsize

    def _bar(self, title: str, images: int) -> "tqdm[Never]":
        return progress_bar(f"seed {self.seed}: {title}", images)
