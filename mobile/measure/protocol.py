"""The figures of the class-incremental protocol that a board's report shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from cbpnet.run.metrics import RunResult, accuracy_over_tasks, forgetting

__all__ = ["ProtocolFigures", "ProtocolRun", "protocol_figures"]


@dataclass(frozen=True)
class ProtocolRun:
    """One method on one seed; shares in [0, 1].

    ``over_tasks`` is, after each task, the mean accuracy on those learnt so far. ``train_seconds``
    is None where it is not known.
    """

    method: str
    seed: int
    over_tasks: tuple[float, ...]
    forgetting: float
    train_seconds: float | None
    eval_seconds: float
    peak_rss_mb: float


@dataclass(frozen=True)
class ProtocolFigures:
    """A data set learnt task after task; ``conditions`` are the command's, by name."""

    data: str
    conditions: dict[str, str]
    runs: tuple[ProtocolRun, ...]


def protocol_figures(
    data: str, conditions: dict[str, object], results: Sequence[RunResult]
) -> ProtocolFigures:
    """Return what the report shows of an evaluation."""
    return ProtocolFigures(
        data,
        {name: str(value) for name, value in conditions.items()},
        tuple(
            ProtocolRun(
                run.method,
                run.seed,
                tuple(accuracy_over_tasks(run.matrix).tolist()),
                forgetting(run.matrix),
                run.train_seconds if run.train_seconds == run.train_seconds else None,
                run.eval_seconds,
                run.peak_rss_mb,
            )
            for run in results
        ),
    )
