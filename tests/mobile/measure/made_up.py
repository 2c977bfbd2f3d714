"""Results as boards write them, made up."""

from dataclasses import replace

from mobile.measure.accuracy import Accuracy, ClassAccuracy, Confusion
from mobile.measure.board import Board
from mobile.measure.latency import AtThreads, Latency, Phase, Soak, Window
from mobile.measure.learning import Learning
from mobile.measure.meter import Reading
from mobile.measure.protocol import ProtocolFigures, ProtocolRun
from mobile.measure.results import Bundle, Result
from mobile.measure.sampling import Sample
from mobile.measure.speed import Memory, Timing

PI = Board(
    model="Raspberry Pi 5 Model B Rev 1.0",
    raspberry_pi=True,
    host="kitchen",
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.12.34+rpt-rpi-v8",
    machine="aarch64",
    cpu="Cortex-A76",
    cores=4,
    memory_mb=8300.0,
    swap_mb=512.0,
    governor="ondemand",
    versions={"python": "3.11.2", "torch": "2.13.0"},
)
LAPTOP = replace(
    PI, model="not a Raspberry Pi: x86-64 machine", raspberry_pi=False, host="lap", governor=None
)
BUNDLE = Bundle("pets.pte", "0123456789abcdef", 12_500_000, "vit", "xnnpack", "int8", 224, 2)
METHODS = ("query", "observe", "begin_task", "gradients", "update", "predict")


def at(threads: int, gradients: float, query: float = 10.0, predict: float = 30.0) -> AtThreads:
    times = {"gradients": gradients, "query": query, "predict": predict}
    return AtThreads(
        threads,
        100.0,
        {name: Timing(2, 50.0, times.get(name, 1.0), 0.5, 90.0) for name in METHODS},
        Memory(200.0, 50.0 + threads, {}),
    )


SAMPLES = tuple(
    Sample(float(second), 40.0 + second, 1800.0, 0, 5.0, 4000.0, 0.0) for second in range(30)
)
LATENCY = Latency(
    micro_batch=2,
    runs=30,
    warm_up=3,
    at=(at(1, 100.0), at(4, 40.0)),
    soak=Soak(4, (Window(10.0, 4.0), Window(20.0, 6.0)), False, (), (), 0.01),
    phases=(Phase("resting before", 0.0, 5.0), Phase("soak", 5.0, 25.0)),
    samples=SAMPLES,
    power=tuple(Reading(one.seconds, 5.0) for one in SAMPLES),
    power_source="the board's power chip",
    clock_jump=0.0,
)
SILENT = replace(
    LATENCY,
    soak=replace(LATENCY.soak, throttled=None) if LATENCY.soak else None,
    samples=tuple(
        replace(one, celsius=None, megahertz=None, flags=None, watts=None) for one in SAMPLES
    ),
    power=(),
    power_source=None,
)
ACCURACY = Accuracy(
    data="photos",
    state="pets.safetensors",
    classes=(ClassAccuracy("cat", 10, 9), ClassAccuracy("<b>dog</b>", 30, 21)),
    left_out=("fox",),
    confusions=(Confusion("<b>dog</b>", "cat", 9),),
    known_classes=3,
    images_per_second=12.0,
    peak_rss_mb=300.0,
)
PROTOCOL = ProtocolFigures(
    "cifar100",
    {"epochs": "3"},
    (
        ProtocolRun("cbpnet", 0, (0.9, 0.8), 0.1, 20.0, 5.0, 300.0),
        ProtocolRun("cbpnet", 1, (0.7, 0.6), 0.1, None, 5.0, 300.0),
    ),
)
LEARNING = Learning("picamera2", ("rex",), (), 20, 5, 10.0, 310.0, SAMPLES)


def result(figures, board: Board = PI, bundle: Bundle = BUNDLE) -> Result:
    return Result("2026-01-02T03:04:05+00:00", board, bundle, figures)
