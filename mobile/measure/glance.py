"""How accurate, how fast, how hot and how hungry: one row for each board and bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mobile.measure.accuracy import Accuracy
from mobile.measure.latency import Latency
from mobile.measure.phases import phase_figures
from mobile.measure.plots import classify_ms, learn_ms
from mobile.measure.protocol import ProtocolFigures
from mobile.measure.results import Figures

__all__ = ["Glance", "glance"]


@dataclass(frozen=True)
class Glance:
    """The figures that matter most; None for what was not measured or is not told.

    ``accuracy`` is a share, of a state on test images where there is one, else of the best method
    after its last task. Times are milliseconds an image, at the best number of threads. Power is
    the soak's mean, and ``joules`` what an image takes in it, learnt in one pass and classified.
    """

    label: str
    accuracy: float | None
    learn_ms: float | None
    classify_ms: float | None
    peak_mb: float | None
    most_celsius: float | None
    throttled: bool | None
    watts: float | None
    joules: float | None


def glance(label: str, results: Sequence[Figures]) -> Glance:
    """Return the row of one board and bundle."""
    latencies = [figures for figures in results if isinstance(figures, Latency)]
    at = [each for one in latencies for each in one.at]
    phases = [phase for one in latencies for phase in phase_figures(one)]
    soaks = [one.soak for one in latencies if one.soak is not None]
    told = [soak.throttled for soak in soaks if soak.throttled is not None]
    watts = next((one.watts for one in phases if one.name == "soak" and one.watts), None)
    speeds = [window.images_per_second for soak in soaks for window in soak.windows]
    heat = [one.most_celsius for one in phases if one.most_celsius is not None]
    return Glance(
        label=label,
        accuracy=_accuracy(results),
        learn_ms=min(map(learn_ms, at), default=None),
        classify_ms=min(map(classify_ms, at), default=None),
        peak_mb=max((each.memory.bare_mb + each.memory.peak_mb for each in at), default=None),
        most_celsius=max(heat, default=None),
        throttled=any(told) if told else None,
        watts=watts,
        joules=watts / fmean(speeds) if watts is not None and speeds else None,
    )


def _accuracy(results: Sequence[Figures]) -> float | None:
    tested = [figures.share for figures in results if isinstance(figures, Accuracy)]
    if tested:
        return tested[-1]
    learnt = [
        run.over_tasks[-1]
        for figures in results
        if isinstance(figures, ProtocolFigures)
        for run in figures.runs
    ]
    return max(learnt, default=None)
