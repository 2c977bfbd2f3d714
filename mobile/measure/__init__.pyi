from .accuracy import (
    Accuracy as Accuracy,
    TestImages as TestImages,
    measure_accuracy as measure_accuracy,
)
from .board_report import collect as collect, write_report as write_report
from .device_contender import DeviceContender as DeviceContender
from .evaluation import BundleEvaluation as BundleEvaluation
from .latency import Latency as Latency, measure_latency as measure_latency
from .sampling import Monitor as Monitor, Sample as Sample
from .speed import measure_memory as measure_memory, measure_times as measure_times
