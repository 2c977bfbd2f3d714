from .device import OnDeviceLearner as OnDeviceLearner, Prediction as Prediction, Program as Program
from .export import ExportSettings as ExportSettings, export_bundle as export_bundle
from .targets import resolve_target as resolve_target
