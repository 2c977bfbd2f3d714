"""One table of many methods over the same tasks, images and seeds.

A run that has ended is kept in the folder ``runs`` of the output, so that an interrupted benchmark
goes on where it stopped; a run kept under other settings is refused and not mixed in.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Never

import numpy as np
import torch
from tqdm import tqdm

from cbpnet.backbone.presets import count_trainables
from cbpnet.backbone.vit import Backbone
from cbpnet.data.dataset import Dataset
from cbpnet.data.stream import Holdout, TaskStream, fingerprint_stream, make_stream
from cbpnet.host.atomic import make_folder, write_atomically
from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb
from cbpnet.host.progress import progress_bar
from cbpnet.method.config import LearnerConfig
from cbpnet.method.learner import Learner
from cbpnet.run.evaluation import Queries, query_stream, run_stream
from cbpnet.run.metrics import MethodKind, RunResult
from cbpnet.run.training import TrainingConfig
from cbpnet.study.methods import LEARNERS, PEERS, VARIANTS, check_methods

__all__ = ["Protocol", "run_benchmark"]


@dataclass(frozen=True)
class Protocol:
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
    protocol: Protocol,
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
        kept = _KeptRuns(folder / "runs", {**settings, "images": images})
        found = {method: kept.find(method, seed) for method in methods}
        results |= {(method, seed): run for method, run in found.items() if run is not None}
        missing = [method for method in methods if found[method] is None]
        to_run += [(bench, kept, missing)] if missing else []
    for bench, kept, missing in to_run:
        for result in bench.run(missing):
            kept.keep(result)
            results[result.method, result.seed] = result
    return [results[method, seed] for method in methods for seed in seeds]


class _SeedBenchmark:
    """All methods on the stream of one seed; the query features are computed once."""

    def __init__(
        self,
        backbone: Backbone,
        dataset: Dataset,
        protocol: Protocol,
        config: LearnerConfig,
        seed: int,
    ) -> None:
        self.backbone, self.protocol, self.config, self.seed = backbone, protocol, config, seed
        self.stream = protocol.stream(dataset, seed)
        self.queries: Queries
        self.train_images = sum(len(task.train) for task in self.stream.tasks)
        self.test_images = tuple(len(task.test) for task in self.stream.tasks)
        if 0 in self.test_images:
            task = self.test_images.index(0) + 1
            raise InputError(
                f"task {task} of {len(self.test_images)} has no test image; a benchmark needs one "
                "in each task"
            )

    def run(self, methods: Sequence[str]) -> Iterator[RunResult]:
        """Run the methods, each result as it is there; those of one variant share its training."""
        learner = self._learner(self.config)
        with self._bar("query features", self.train_images + sum(self.test_images)) as bar:
            self.queries = query_stream(
                learner, self.stream, self.backbone.preprocessing, bar.update
            )
        yield from (self._run_peer(method) for method in methods if method in PEERS)
        for variant in VARIANTS:
            names = [m for m in methods if m in LEARNERS and LEARNERS[m].variant == variant]
            if names:
                yield from self._run_variant(variant, names)

    def _learner(self, config: LearnerConfig) -> Learner:
        return Learner(self.backbone, config, len(self.stream.class_names), len(self.stream.tasks))

    def _bar(self, title: str, images: int) -> "tqdm[Never]":
        return progress_bar(f"seed {self.seed}: {title}", images)

    def _run_variant(self, variant: str, names: Sequence[str]) -> list[RunResult]:
        config = VARIANTS[variant](self.config)
        learner = self._learner(config)
        tasks = len(self.test_images)
        tested = sum(size * (tasks - task) for task, size in enumerate(self.test_images))
        readouts = [LEARNERS[name].readout for name in names]
        images = self.protocol.training.epochs * self.train_images + tested
        with self._bar(variant, images) as bar:
            run = run_stream(
                learner,
                self.stream,
                self.queries,
                self.backbone.preprocessing,
                self.protocol.training,
                self.seed,
                readouts,
                bar.update,
            )
        epoch_seconds = run.train_seconds / self.protocol.training.epochs
        budget = count_trainables(config, self.backbone.dim, self.backbone.parameters_without_head)
        statistics = ("classes.", "readout.")
        extra = {
            "epoch_over_forward": epoch_seconds / self.queries.train_seconds,
            "statistics_bytes": sum(
                value.nbytes for name, value in run.state.items() if name.startswith(statistics)
            ),
        }
        return [
            RunResult(
                method=name,
                seed=self.seed,
                matrix=run.matrices[LEARNERS[name].readout],
                test_images=self.test_images,
                prompt_selection=run.selection,
                train_seconds=run.train_seconds + self.queries.train_seconds,
                eval_seconds=run.eval_seconds,
                peak_rss_mb=peak_rss_mb(),
                kind=MethodKind.GRADIENT,
                trainable_share=budget.share,
                extra=extra,
            )
            for name in names
        ]

    def _run_peer(self, name: str) -> RunResult:
        method = PEERS[name]
        classes = len(self.stream.class_names)
        peer = method.build(self.backbone.dim, classes, self.protocol.projection_size, self.seed)
        tasks = self.stream.tasks
        matrix = np.full((len(tasks), len(tasks)), np.nan)
        train_seconds = eval_seconds = 0.0
        for task in tasks:
            start = time.perf_counter()
            peer.fit_task(self.queries.train[task.index], torch.from_numpy(task.train_labels))
            middle = time.perf_counter()
            for known in tasks[: task.index + 1]:
                guesses = peer.scores(self.queries.test[known.index]).argmax(dim=1).numpy()
                matrix[task.index, known.index] = np.mean(guesses == known.test_labels)
            train_seconds += middle - start
            eval_seconds += time.perf_counter() - middle
        return RunResult(
            method=name,
            seed=self.seed,
            matrix=matrix,
            test_images=self.test_images,
            prompt_selection=None,
            train_seconds=train_seconds + self.queries.train_seconds,
            eval_seconds=eval_seconds,
            peak_rss_mb=peak_rss_mb(),
            kind=method.kind,
        )


class _KeptRuns:
    """The ended runs of a benchmark, a JSON file each."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.folder = folder
        # Through JSON and back, so that tuples compare equal to what a file holds.
        self.settings = json.loads(json.dumps(settings, default=str))

    def find(self, method: str, seed: int) -> RunResult | None:
        """Return a kept run, or None; `InputError` for one of other settings or broken."""
        path = self._path(method, seed)
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text())
            settings, run = content["settings"], content["run"]
            matrix = [
                [np.nan if value is None else value for value in row] for row in run["matrix"]
            ]
            changes = {
                "matrix": np.array(matrix),
                "kind": MethodKind(run["kind"]),
                "test_images": tuple(run["test_images"]),
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a kept run ({error}); delete it") from error
        if settings != self.settings:
            names = [
                name
                for name in settings.keys() | self.settings.keys()
                if settings.get(name) != self.settings.get(name)
            ]
            raise InputError(
                f"{path} was run with other settings ({', '.join(sorted(names))}); "
                "choose another output folder or delete it"
            )
        return RunResult(**{**run, **changes})

    def keep(self, result: RunResult) -> None:
        """Write a run that has ended."""
        run = {field.name: getattr(result, field.name) for field in fields(result)}
        run["matrix"] = [[None if np.isnan(x) else x for x in row] for row in result.matrix]
        content = json.dumps({"settings": self.settings, "run": run}, indent=1, sort_keys=True)
        write_atomically(self._path(result.method, result.seed), content.encode())

    def _path(self, method: str, seed: int) -> Path:
        return self.folder / f"{method}-seed{seed}.json"
