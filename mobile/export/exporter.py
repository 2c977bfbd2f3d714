"""Export: a backbone, and perhaps a state, become one verified bundle for a target."""

import gc
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from cbpnet.backbone.presets import Budget, count_trainables
from cbpnet.backbone.vit import Backbone
from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import FORWARD_METHODS, POOL_OF
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from mobile.device.bundle import (
    BackboneInfo,
    Manifest,
    MethodInfo,
    StateTensor,
    TensorInfo,
    manifest_to_json,
    seal,
)
from mobile.export.calibration import (
    ReportImages,
    calibration_batches,
    calibration_passes,
    report_quantisation,
)
from mobile.export.lowering import Delegation, Lowered, lower
from mobile.export.split_learner import SplitLearner
from mobile.export.tracing import TracedProgram, bundle_functions, trace
from mobile.export.verification import Agreement, verify
from mobile.targets import TARGETS, load_backend, target_options
from quantize.frozen_linear import Precision
from quantize.trunk import FrozenTrunk

__all__ = ["CALIBRATING", "REPORTING", "STAGES", "Export", "ExportSettings", "export_bundle"]

_PACKAGES = ("cbpnet-mobile", "torch", "executorch", "torchao", "timm")

# Titles of the stages, and the share of the time that each took for a ViT-Ti, in per cent.
_QUANTISING, _LOWERING = "quantising the trunk", "lowering to the target"
_SERIALISING, _VERIFYING = "serialising", "running it against PyTorch"
STAGES = {
    _QUANTISING: 0.2,
    "tracing initial_state": 0.3,
    "tracing query": 3.4,
    "tracing observe": 0.2,
    "tracing begin_task": 0.2,
    "tracing predict": 3,
    "tracing gradients": 8.4,
    "tracing update": 0.9,
    _LOWERING: 71,
    _SERIALISING: 8,
    _VERIFYING: 4,
}

# The stages after the first where there are real images to calibrate on, or to report on.
CALIBRATING = "calibrating static int8"
REPORTING = "comparing with fp32 on real images"

Stage = Callable[[str], object]


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is made for.

    ``classes`` and ``tasks`` are its capacity, ``class_names`` what its state knows already.
    ``micro_batch`` images go through it at a time. ``options`` are the target's own.

    Raises:
        InputError: fewer than two classes, a task or an image; a precision or an option that the
            target does not have.
    """

    target: str
    precision: Precision
    classes: int
    tasks: int
    micro_batch: int = 1
    class_names: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether the export needs images to calibrate on."""
        if self.precision != "int8" or TARGETS[self.target].learns:
            return False
        calibrated: bool = load_backend(self.target, self.options).calibrated
        return calibrated

    def __post_init__(self) -> None:
        target_options(self.target, self.options)
        precisions = TARGETS[self.target].precisions
        if self.precision not in precisions:
            raise InputError(
                f"target {self.target} has no precision {self.precision!r}; it must be "
                f"{' or '.join(precisions)}"
            )
        for name, least in (("classes", 2), ("tasks", 1), ("micro_batch", 1)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name} of a bundle is {value}; it must be at least {least}")


@dataclass(frozen=True)
class Export:
    """A written bundle: its manifest, its delegation, and its agreement with PyTorch.

    ``compiler`` is what the target's compiler reported, if anything. ``bytes`` is the file's size,
    ``weight_bytes`` that of the constants in it.
    """

    path: Path
    manifest: Manifest
    delegation: dict[str, Delegation]
    agreement: Agreement
    compiler: dict[str, Any] | None
    bytes: int
    weight_bytes: int


def export_bundle(
    path: Path,
    backbone: Backbone,
    config: LearnerConfig,
    state: LearnerState,
    settings: ExportSettings,
    stage: Stage = lambda title: None,
    images: ReportImages | None = None,
    calibration: Sequence[Path] = (),
) -> Export:
    """Trace, lower, verify and write a bundle whose `initial_state` is ``state``.

    ``stage`` is told the title of each of `STAGES` as it begins. A target of static int8 takes its
    ranges from the images ``calibration``, after the first stage under the title `CALIBRATING`.
    With real ``images`` the manifest gets a quantisation report, made next under the title
    `REPORTING`. An older file at ``path`` is replaced only by a bundle that passed every check.

    Raises:
        InputError: the backbone or target cannot be served, images to calibrate on are missing, a
            frozen layer is left outside the delegates, a trainable is baked in, the program
            disagrees with PyTorch, or the file cannot be written.
    """
    backend = load_backend(settings.target, settings.options)
    learns = TARGETS[settings.target].learns
    if settings.calibrated and not calibration:
        raise InputError(
            f"target {settings.target} rounds to int8 by ranges that it takes from images; name "
            "some to calibrate on, or export in fp32"
        )
    stage(_QUANTISING)
    trunk = FrozenTrunk(backbone, settings.precision)
    learner = Learner(trunk, config, settings.classes, settings.tasks)
    if not learns:
        exact = FrozenTrunk(backbone, "fp32")
        if settings.precision == "fp32":
            forward = backend.unquantised(exact)
        else:
            batches: list[Tensor] = []
            if settings.calibrated:
                stage(CALIBRATING)
                batches = calibration_batches(calibration, backbone.preprocessing)
            passes = calibration_passes(config, backbone.dim)
            forward = backend.quantised(exact, batches, passes, settings.micro_batch)
        learner = SplitLearner(trunk, forward, config, settings.classes, settings.tasks)
    report = None
    if images is not None:
        stage(REPORTING)
        report = report_quantisation(backbone, learner, images).as_dict()
    programs = []
    for function in bundle_functions(learner, state, settings.micro_batch, backbone.image_size):
        stage(f"tracing {function.name}")
        plain = not backend.delegates or (not learns and function.name in FORWARD_METHODS)
        programs.append(trace(function, plain))
    _check_trainables(learner, programs)
    stage(_LOWERING)
    with _without_garbage_collection(), backend.compiling():
        if learns:
            lowered = lower(programs, backend.partitioner)
        else:
            on_cpu = load_backend("xnnpack", {})
            lowered = lower(programs, on_cpu.partitioner, backend.partitioner, backend.passes)
        manifest = _manifest(backbone, learner, state, settings, programs, lowered, report)
        stage(_SERIALISING)
        bundle = seal(lowered.serialise(manifest_to_json(manifest)))
    stage(_VERIFYING)
    with TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_bytes(bundle)
        agreement = verify(
            trial, learner, state, settings.precision, backbone.image_size, backend.runs_here
        )
    write_atomically(path, bundle)
    return Export(
        path,
        manifest,
        lowered.delegation,
        agreement,
        backend.report(),
        len(bundle),
        _weight_bytes(programs),
    )


def _check_trainables(learner: Learner, programs: Sequence[TracedProgram]) -> None:
    """Raise `InputError` unless every trainable goes into `gradients` and comes out of `update`."""
    methods = {program.name: program for program in programs}
    for name in learner.trainables:
        tensor = f"state.{POOL_OF.get(name, name)}"
        if tensor not in methods["gradients"].inputs or tensor not in methods["update"].outputs:
            raise InputError(
                f"{tensor} was baked into the program: it must be an input of gradients and an "
                "output of update; nothing is written"
            )


def _manifest(
    backbone: Backbone,
    learner: Learner,
    state: LearnerState,
    settings: ExportSettings,
    programs: Sequence[TracedProgram],
    lowered: Lowered,
    report: dict[str, Any] | None,
) -> Manifest:
    budget: Budget = count_trainables(
        learner.config, backbone.dim, backbone.parameters_without_head
    )
    head = sum(
        math.prod(shape) for name, shape in learner.trainables.items() if name.startswith("head.")
    )
    return Manifest(
        target=settings.target,
        target_options=target_options(settings.target, settings.options),
        precision=settings.precision,
        backbone=BackboneInfo(
            backbone.name, budget.backbone, backbone.dim, backbone.weights_fingerprint
        ),
        preprocessing=backbone.preprocessing,
        config=learner.config,
        classes=settings.classes,
        tasks=settings.tasks,
        class_names=settings.class_names,
        micro_batch=settings.micro_batch,
        image_size=backbone.image_size,
        trainable_parameters=budget.trainable,
        trainable_fraction=budget.share,
        head_parameters=head,
        state=tuple(StateTensor(name, tuple(value.shape)) for name, value in state.items()),
        methods={program.name: _method(program, lowered) for program in programs},
        quantisation=report,
        versions={package: version(package) for package in _PACKAGES},
    )


def _method(program: TracedProgram, lowered: Lowered) -> MethodInfo:
    delegation = lowered.delegation[program.name]
    return MethodInfo(
        inputs=_describe(program.inputs),
        outputs=_describe(program.outputs),
        delegate_calls=delegation.delegate_calls,
        undelegated=delegation.undelegated,
        macs=delegation.total,
        undelegated_macs=sum(delegation.arithmetic.values()),
    )


def _describe(tensors: Mapping[str, Tensor]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(name, str(value.dtype).removeprefix("torch."), tuple(value.shape))
        for name, value in tensors.items()
    )


def _weight_bytes(programs: Sequence[TracedProgram]) -> int:
    """Return the size of the programs' constants, those that several share counted once."""
    found = {
        hashlib.sha256(
            value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        ).digest(): value.nbytes
        for program in programs
        for value in (*program.program.state_dict.values(), *program.program.constants.values())
        if isinstance(value, Tensor)
    }
    return sum(found.values())


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spare the lowering, which makes millions of objects and no garbage, a third of its time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
