"""The report of a plasticity experiment: a table, every figure as JSON, and a plot a regime."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from cbpnet.host.tables import markdown_table, mean_and_spread
from cbpnet.run.metrics import Matrix
from cbpnet.study.diagnosis import Diagnosis
from cbpnet.study.plasticity import PairConfig, PairRuns
from cbpnet.study.plots import plot_stream

__all__ = ["PairStudy", "format_studies", "mean_by_fifth", "write_studies"]

HEADER = (
    "variant",
    "first fifth",
    "last fifth",
    "change",
    "dormant units %",
    "effective rank",
    "mean abs. w_in",
    "mean abs. w_out",
)

NOTE = """\
Accuracy on held-out images of a pair right after learning it, in per cent, over the first and the
last fifth of the stream, and the difference in points: mean ± sample standard deviation over seeds.
The block's figures are means over seeds after the first task, the middle one and the last.
"""


@dataclass(frozen=True)
class PairStudy:
    """All variants under one configuration, by name."""

    config: PairConfig
    runs: Mapping[str, PairRuns]

    @property
    def title(self) -> str:
        """The regime in words."""
        return f"{self.config.form}, step size {self.config.lr:g}"


def mean_by_fifth(accuracy: Matrix) -> Matrix:
    """Return the mean accuracy [S, 5] over each fifth of a stream [S, T].

    Raises `InputError` for a stream of fewer than five tasks.
    """
    if accuracy.shape[1] < 5:
        raise InputError(f"the stream has {accuracy.shape[1]} tasks; fifths need at least 5")
    return np.stack([part.mean(axis=1) for part in np.array_split(accuracy, 5, axis=1)], axis=1)


def format_studies(studies: Sequence[PairStudy]) -> str:
    """Return a Markdown table for each study, aligned so that it also reads in a terminal."""
    return "\n".join(f"{study.title}\n\n{_table(study)}" for study in studies)


def write_studies(
    studies: Sequence[PairStudy],
    seeds: Sequence[int],
    conditions: Mapping[str, object],
    folder: Path,
) -> list[Path]:
    """Write ``results.json``, ``table.md`` and a plot for each study; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
    page = f"# Plasticity\n\n{format_studies(studies)}\n{NOTE}\n## Conditions\n\n{listed}"
    document = {
        "conditions": dict(conditions),
        "seeds": list(seeds),
        "studies": [
            {
                "config": asdict(study.config),
                "variants": {name: _plain(runs) for name, runs in study.runs.items()},
            }
            for study in studies
        ],
    }
    texts = {"table.md": page, "results.json": json.dumps(document, indent=1) + "\n"}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    caption = ", ".join(f"{name} {value}" for name, value in conditions.items())
    plots = []
    for study in studies:
        path = folder / f"{study.config.form}-{study.config.lr:g}.png"
        curves = {name: runs.accuracy for name, runs in study.runs.items()}
        window = max(1, study.config.tasks // 10)
        plot_stream(curves, path, window, f"{study.title}; {caption}")
        plots.append(path)
    return [*(folder / name for name in texts), *plots]


def _plain(runs: PairRuns) -> dict[str, object]:
    return {
        "accuracy": runs.accuracy.tolist(),
        "diagnoses": [
            {
                name: value.tolist() if isinstance(value, torch.Tensor) else value
                for name, value in vars(diagnosis).items()
            }
            for diagnosis in runs.diagnoses
        ],
    }


def _table(study: PairStudy) -> str:
    rows = [_row(name, runs) for name, runs in study.runs.items()]
    return markdown_table(HEADER, rows) + "\n"


def _row(name: str, runs: PairRuns) -> tuple[str, ...]:
    fifths = mean_by_fifth(runs.accuracy) * 100
    first, last, change = (
        part.tolist() for part in (fifths[:, 0], fifths[:, -1], fifths[:, -1] - fifths[:, 0])
    )
    return (
        name,
        mean_and_spread(first),
        mean_and_spread(last),
        mean_and_spread(change, "+"),
        _course(runs, lambda diagnosis: diagnosis.dormant * 100, 0),
        _course(runs, lambda diagnosis: diagnosis.rank, 1),
        _course(runs, lambda diagnosis: diagnosis.incoming, 2),
        _course(runs, lambda diagnosis: diagnosis.outgoing, 2),
    )


def _course(runs: PairRuns, figure: Callable[[Diagnosis], torch.Tensor], digits: int) -> str:
    return ", ".join(f"{figure(each).double().mean():.{digits}f}" for each in runs.diagnoses)
