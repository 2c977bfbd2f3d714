"""Export: a backbone, and perhaps a state, become one verified bundle for a target."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from cbpnet.method.feature_names import with_classifier
from cbpnet.method.layout import (
    Layout,
    MethodName,
    count_parameters,
    counted_axes,
    forward_methods,
    methods_of,
    stored_in,
)
from cbpnet.method.state import HostState, LearnerState
from cbpnet.method.tensors import as_tensors
from mobile.device.bundle import seal
from mobile.device.manifest import (
    BackboneInfo,
    Limits,
    Manifest,
    MethodInfo,
    StateTensor,
    TensorInfo,
)
from mobile.device.program_check import planned_bytes
from mobile.export.bundle_learner import (
    BundleLearner,
    bundle_functions,
    make_learner,
    trained_by,
    trained_prefix,
)
from mobile.export.calibration import (
    ReportImages,
    calibration_batches,
    calibration_passes,
    report_quantisation,
)
from mobile.export.comparison import Agreement
from mobile.export.lowering import Delegation, Lowered, lower
from mobile.export.tracing import TracedProgram, trace
from mobile.export.verification import verify
from mobile.targets import ResolvedTarget
from mobile.targets.backend import Calibration
from quantize.trunk import FrozenTrunk

__all__ = [
    "CALIBRATING",
    "REPORTING",
    "Export",
    "ExportSettings",
    "export_bundle",
    "export_stages",
]

_PACKAGES = ("cbpnet-mobile", "torch", "executorch", "torchao", "timm")

# Titles of the stages, and the share of the time that each took for a ViT-Ti, in per cent.
_QUANTISING, _TRACING, _LOWERING = "quantising the trunk", "tracing {}", "lowering to the target"
_SERIALISING, _VERIFYING = "serialising", "running it against PyTorch"
_TRACED: dict[MethodName, float] = {
    "initial_state": 0.3,
    "query": 3.4,
    "features": 3.4,
    "observe": 0.2,
    "begin_task": 0.2,
    "solve": 2,
    "leave_one_out": 0.2,
    "predict": 3,
    "compare": 0.2,
    "carry": 2,
    "gradients": 8.4,
    "update": 0.9,
}

# The stages after the first where there are real images to calibrate on, or to report on.
CALIBRATING = "calibrating static int8"
REPORTING = "comparing with fp32 on real images"

Stage = Callable[[str], object]


def export_stages(config: LearnerConfig) -> dict[str, float]:
    """Return the titles of an export's stages, in order, and the share of the time of each."""
    return {
        _QUANTISING: 0.2,
        **{_TRACING.format(name): _TRACED[name] for name in methods_of(config)},
        _LOWERING: 71,
        _SERIALISING: 8,
        _VERIFYING: 4,
    }


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is made for.

    ``classes`` and ``tasks`` are its capacity, ``class_names`` what its state knows already; a
    one-pass learner has no tasks. ``micro_batch`` images go through it at a time.

    Raises:
        InputError: fewer than two classes, a task or an image.
    """

    target: ResolvedTarget
    classes: int
    tasks: int
    micro_batch: int = 1
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("classes", 2), ("tasks", 1), ("micro_batch", 1)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name} of a bundle is {value}; it must be at least {least}")


@dataclass(frozen=True)
class Export:
    """A written bundle: its manifest, its delegation, and its agreement with PyTorch.

    ``compiler`` is what the target's compiler reported, if anything. ``bytes`` is the file's size,
    ``weight_bytes`` that of the constants in it. ``known_tasks`` is how many tasks its state knows.
    """

    path: Path
    manifest: Manifest
    delegation: dict[str, Delegation]
    agreement: Agreement
    compiler: dict[str, Any] | None
    bytes: int
    weight_bytes: int
    known_tasks: int


def export_bundle(
    path: Path,
    backbone: Backbone,
    config: LearnerConfig,
    state: HostState,
    settings: ExportSettings,
    stage: Stage = lambda title: None,
    images: ReportImages | None = None,
    calibration: Sequence[Path] = (),
    write: Callable[[Path, bytes], object] = write_atomically,
) -> Export:
    """Trace, lower, verify and write a bundle whose `initial_state` is ``state``.

    ``stage`` is told the title of each of `export_stages` as it begins. A target of static int8
    takes its ranges from the images ``calibration``, after the first stage under the title
    `CALIBRATING`. With real ``images`` the manifest gets a quantisation report, made next under the
    title `REPORTING`. An older file at ``path`` is replaced only by a bundle that passed all
    checks, by ``write``, which may write more beside it.

    Raises:
        InputError: the backbone or target cannot be served, images to calibrate on are missing, a
            frozen layer is left outside the delegates, a trainable is baked in, the program
            disagrees with PyTorch, or the file cannot be written.
    """
    target = settings.target
    if target.calibrated and not calibration:
        raise InputError(
            f"target {target.name} rounds to int8 by ranges that it takes from images; name some "
            "to calibrate on, or export in fp32"
        )
    learner = _frozen_learner(backbone, config, settings, stage, calibration)
    report = None
    if images is not None:
        stage(REPORTING)
        report = report_quantisation(backbone, learner, images).as_dict()
    programs = _trace(learner, as_tensors(state), settings, backbone.image_size, stage)
    stage(_LOWERING)
    backend, learning = target.backend, target.learning
    with _without_garbage_collection(), backend.compiling():
        if target.learns:
            lowered = lower(programs, backend.partitioner)
        else:
            lowered = lower(programs, learning.partitioner, backend.partitioner, backend.passes)
        stage(_SERIALISING)
        program = lowered.serialise()
    limits = Limits(planned_bytes(program))
    manifest = _manifest(backbone, learner, state, settings, programs, lowered, limits, report)
    bundle = seal(program, manifest)
    stage(_VERIFYING)
    with TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_bytes(bundle)
        agreement = verify(
            trial, learner, state, target.precision, backbone.image_size, backend.runs_here
        )
    write(path, bundle)
    return Export(
        path,
        manifest,
        lowered.delegation,
        agreement,
        backend.report(forward_methods(config)),
        len(bundle),
        _weight_bytes(programs),
        state.known_tasks,
    )


def _frozen_learner(
    backbone: Backbone,
    config: LearnerConfig,
    settings: ExportSettings,
    stage: Stage,
    calibration: Sequence[Path],
) -> BundleLearner:
    """Return the learner that is traced, on the backbone frozen in what it is lowered to."""
    target = settings.target
    stage(_QUANTISING)
    features = config.features
    if config.adaptation.kind == "auto":  # which asks the classifier
        features = with_classifier(features, backbone.logits)
    trunk = FrozenTrunk(backbone, target.precision, features=features)
    if target.learns:
        return make_learner(trunk, None, config, settings.classes, settings.tasks)
    exact = FrozenTrunk(backbone, "fp32", features=features)
    if target.precision == "fp32":
        forward = target.backend.unquantised(exact)
    else:
        batches: list[Tensor] = []
        if target.calibrated:
            stage(CALIBRATING)
            batches = calibration_batches(calibration, backbone.preprocessing)
        passes = calibration_passes(config, backbone.dim)
        forward = target.backend.quantised(
            exact, Calibration(batches, passes, settings.micro_batch)
        )
    return make_learner(trunk, forward, config, settings.classes, settings.tasks)


def _trace(
    learner: BundleLearner,
    state: LearnerState,
    settings: ExportSettings,
    image_size: int,
    stage: Stage,
) -> list[TracedProgram]:
    """Return every function of the bundle, traced; plain where no frozen layer is to be kept."""
    target, programs = settings.target, []
    for function in bundle_functions(learner, state, settings.micro_batch, image_size):
        stage(_TRACING.format(function.name))
        forward = not target.learns and function.name in forward_methods(learner.config)
        programs.append(trace(function, plain=forward or not target.backend.delegates))
    _check_trainables(learner, programs)
    return programs


def _check_trainables(learner: BundleLearner, programs: Sequence[TracedProgram]) -> None:
    """Raise `InputError` unless every trainable goes into `gradients` and comes out of `update`."""
    methods = {program.name: program for program in programs}
    for name in _trainables(learner):
        tensor = trained_prefix(learner) + stored_in(name)
        if tensor not in methods["gradients"].inputs or tensor not in methods["update"].outputs:
            raise InputError(
                f"{tensor} was baked into the program: it must be an input of gradients and an "
                "output of update; nothing is written"
            )


def _trainables(learner: BundleLearner) -> Layout:
    """Return what the steps of a bundle change, if it takes any."""
    trained = trained_by(learner)
    return {} if trained is None else trained.trainables


def _manifest(
    backbone: Backbone,
    learner: BundleLearner,
    state: HostState,
    settings: ExportSettings,
    programs: Sequence[TracedProgram],
    lowered: Lowered,
    limits: Limits,
    report: dict[str, Any] | None,
) -> Manifest:
    budget: Budget = count_trainables(
        learner.config, backbone.dim, backbone.parameters_without_head
    )
    trained = trained_by(learner)
    return Manifest(
        target=settings.target.name,
        target_options=dict(settings.target.options),
        precision=settings.target.precision,
        backbone=BackboneInfo(
            backbone.name, budget.backbone, backbone.dim, backbone.weights_fingerprint
        ),
        preprocessing=backbone.preprocessing,
        config=learner.config,
        classes=settings.classes,
        tasks=1 if learner.config.one_pass else settings.tasks,
        class_names=settings.class_names,
        micro_batch=settings.micro_batch,
        image_size=backbone.image_size,
        trainable_parameters=budget.trainable,
        trainable_fraction=budget.share,
        head_parameters=count_parameters(_trainables(learner), "head"),
        state=_tensors(learner.config, backbone.dim, state.layout),
        adaptation=()
        if trained is None or trained is learner
        else _tensors(trained.config, backbone.dim, trained.layout),
        methods={program.name: _method(program, lowered) for program in programs},
        limits=limits,
        quantisation=report,
        versions={package: version(package) for package in _PACKAGES},
    )


def _tensors(config: LearnerConfig, dim: int, layout: Layout) -> tuple[StateTensor, ...]:
    counted = counted_axes(config, dim)
    return tuple(StateTensor(name, shape, counted[name]) for name, shape in layout.items())


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
