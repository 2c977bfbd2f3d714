"""Which charts a report has."""

from collections.abc import Callable, Sequence
from statistics import fmean

from mobile.measure.accuracy import Accuracy
from mobile.measure.charts import Bar, BarChart, Line, LineChart
from mobile.measure.latency import AtThreads, Latency
from mobile.measure.protocol import ProtocolFigures
from mobile.measure.sampling import Sample
from mobile.measure.series import Series

__all__ = ["accuracy_charts", "classify_ms", "course_charts", "learn_ms", "speed_charts"]

Chart = BarChart | LineChart
_MINUTE = 60.0


def learn_ms(at: AtThreads) -> float:
    """Return the milliseconds that an image takes in a pass of training, but for its share of the
    update; where nothing trains, in the pass that it is counted by."""
    timing = at.methods.get("gradients") or at.methods["features"]
    return timing.median_ms / timing.images


def classify_ms(at: AtThreads) -> float:
    """Return the milliseconds that classifying an image takes: its pass or two of the backbone."""
    passes = ("query", "features", "predict")
    timings = [at.methods[name] for name in passes if name in at.methods]
    return sum(timing.median_ms / timing.images for timing in timings)


def speed_charts(latencies: Sequence[Series[Latency]]) -> list[Chart]:
    """Return speed at the best number of threads and over them, and memory."""
    if not latencies:
        return []
    charts: list[Chart] = [
        _best("Learning: milliseconds an image in one pass", latencies, learn_ms),
        _best("Classifying: milliseconds an image", latencies, classify_ms),
        BarChart(
            "Peak memory of the process, MB",
            [
                Bar(one.label, peak, f"{peak:.0f}", one.colour)
                for one in latencies
                for peak in [max(at.memory.bare_mb + at.memory.peak_mb for at in one.figures.at)]
            ],
        ),
    ]
    if any(len(one.figures.at) > 1 for one in latencies):
        charts += [
            _over_threads("Images learnt from a second and pass", latencies, learn_ms),
            _over_threads("Images classified a second", latencies, classify_ms),
        ]
    return charts


def course_charts(latencies: Sequence[Series[Latency]]) -> list[Chart]:
    """Return what the boards said of themselves over time, as far as they told it."""
    samples: list[tuple[str, Callable[[Sample], float | None], bool]] = [
        ("Temperature, °C", lambda one: one.celsius, False),
        ("Clock, MHz", lambda one: one.megahertz, False),
        ("Memory that is left, MB", lambda one: one.available_mb, True),
    ]
    charts = [
        _course(
            title,
            [
                (
                    one,
                    [
                        (sample.seconds, value)
                        for sample in one.figures.samples
                        if (value := read(sample)) is not None
                    ],
                )
                for one in latencies
            ],
            from_zero,
        )
        for title, read, from_zero in samples
    ]
    charts.append(
        _course(
            "Power, W",
            [
                (one, [(reading.seconds, reading.watts) for reading in one.figures.power])
                for one in latencies
            ],
        )
    )
    charts.append(
        _course(
            "Soak: images learnt and classified a second",
            [
                (one, [(window.seconds, window.images_per_second) for window in soak.windows])
                for one in latencies
                if (soak := one.figures.soak) is not None
            ],
        )
    )
    return [chart for chart in charts if chart is not None]


def accuracy_charts(
    accuracies: Sequence[Series[Accuracy]], protocols: Sequence[Series[ProtocolFigures]]
) -> list[Chart]:
    """Return the accuracy of states, and that over tasks."""
    charts: list[Chart] = []
    if accuracies:
        charts.append(
            BarChart(
                "Accuracy of a state, %",
                [
                    Bar(
                        f"{one.label}: {one.figures.data}",
                        100 * one.figures.share,
                        f"{100 * one.figures.share:.1f}",
                        one.colour,
                    )
                    for one in accuracies
                ],
            )
        )
    lines: list[Line] = []
    for one in protocols:
        for method in dict.fromkeys(run.method for run in one.figures.runs):
            runs = [run.over_tasks for run in one.figures.runs if run.method == method]
            points = [
                (float(task), 100 * fmean(values))
                for task, values in enumerate(zip(*runs, strict=True), start=1)
            ]
            lines.append(Line(f"{one.label}: {method}", points, len(lines)))
    if lines:
        charts.append(
            LineChart(
                "Accuracy after each task, %", "tasks learnt", lines, from_zero=False, whole=True
            )
        )
    return charts


def _best(
    title: str, latencies: Sequence[Series[Latency]], figure: Callable[[AtThreads], float]
) -> BarChart:
    bars = []
    for one in latencies:
        best = min(one.figures.at, key=figure)
        threads = f"{best.threads} thread{'s' if best.threads > 1 else ''}"
        text = f"{figure(best):.3g}, {threads}"
        bars.append(Bar(one.label, figure(best), text, one.colour))
    return BarChart(title, bars)


def _over_threads(
    title: str, latencies: Sequence[Series[Latency]], figure: Callable[[AtThreads], float]
) -> LineChart:
    lines = [
        Line(
            one.label,
            [(float(at.threads), 1e3 / figure(at)) for at in one.figures.at],
            one.colour,
            one.dash,
        )
        for one in latencies
    ]
    return LineChart(title, "threads", lines, whole=True)


def _course(
    title: str,
    series: Sequence[tuple[Series[Latency], Sequence[tuple[float, float]]]],
    from_zero: bool = True,
) -> LineChart | None:
    lines = [
        Line(
            one.label,
            [(seconds / _MINUTE, value) for seconds, value in points],
            one.colour,
            one.dash,
        )
        for one, points in series
        if points
    ]
    return LineChart(title, "minutes", lines, from_zero) if lines else None
