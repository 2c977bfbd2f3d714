"""What one `export` is to do: checked before any long work, then done."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cbpnet.backbone.presets import check_budget, choose_preset, count_trainables, get_preset
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.data.labels import fold_label, tidy_label
from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.capacity import grow
from cbpnet.method.config import LearnerConfig
from cbpnet.method.initial import draw_state
from cbpnet.method.state import HostState
from cbpnet.run.state_file import load_state
from cbpnet.run.state_info import StateInfo
from mobile.cli.export_options import (
    CLASSES,
    TASKS,
    BackboneOptions,
    PhotoOptions,
    StateOptions,
)
from mobile.cli.learner_options import LearnerOptions
from mobile.cli.options import print_note
from mobile.cli.stages import Stages
from mobile.export.calibration import (
    ReportImages,
    read_calibration_images,
    read_report_images,
)
from mobile.export.exporter import (
    CALIBRATING,
    REPORTING,
    Export,
    ExportSettings,
    export_bundle,
    export_stages,
)
from mobile.targets import ResolvedTarget
from mobile.trust.sidecar import Signing, write_signed

__all__ = ["ExportJob", "plan_export"]

_BACKBONE = "vit_tiny_patch16_224"
_LOADING = "loading the backbone"


@dataclass(frozen=True)
class Learnt:
    """What a server learnt."""

    state: HostState
    info: StateInfo


@dataclass(frozen=True)
class ExportJob:
    """An export whose options have been checked; ``learnt`` has the capacity of ``settings``."""

    settings: ExportSettings
    backbone: BackboneOptions
    learner: LearnerOptions
    learnt: Learnt | None
    seed: int
    calibration: list[Path]
    report: ReportImages | None
    out: Path
    sign: Signing | None

    def run(self) -> tuple[Export, dict[str, float]]:
        """Export, and return what was written and the seconds of each stage.

        Raises:
            InputError: the backbone is not that of the state, does not keep the budget, or
                `export_bundle` refuses it.
        """
        with Stages(self._stages()) as stages:
            stages(_LOADING)
            backbone = self._load_backbone()
            config = self._config(backbone)
            written = export_bundle(
                self.out,
                backbone,
                config,
                self._state(config, backbone.dim),
                self.settings,
                stages,
                self.report,
                self.calibration,
                partial(write_signed, sign=self.sign),
            )
        return written, stages.seconds

    def _stages(self) -> dict[str, float]:
        """Return the stages' titles and shares of the time, in order."""
        first, *rest = export_stages(_of_its_kind(self.learner, self.learnt)).items()
        images = {CALIBRATING: 100.0} if self.calibration else {}
        if self.report is not None:
            images[REPORTING] = 100.0
        return {_LOADING: 0.5, **dict([first]), **images, **dict(rest)}

    def _load_backbone(self) -> Backbone:
        """Return the backbone, which is the one that the state was learnt on if there is one."""
        asked, info = self.backbone, self.learnt.info if self.learnt else None
        name = asked.backbone or (info.backbone if info else _BACKBONE)
        size = asked.image_size or (info.preprocessing.image_size if info else None)
        backbone = load_backbone(name, asked.weights, size)
        own = backbone.preprocessing
        crop = asked.crop_pct or (info.preprocessing.crop_pct if info else own.crop_pct)
        backbone.preprocessing = replace(own, crop_pct=crop)
        if info:
            _check_equal("weights", info.weights, backbone.weights_fingerprint)
            _check_equal("preprocessing", info.preprocessing, backbone.preprocessing)
        return backbone

    def _config(self, backbone: Backbone) -> LearnerConfig:
        """Return the state's settings, or those asked for on the preset, within the budget."""
        preset = choose_preset(
            backbone.name, backbone.dim, backbone.depth, backbone.parameters_without_head
        )
        config = self.learnt.info.config if self.learnt else self.learner.config(preset)
        found = count_trainables(config, backbone.dim, backbone.parameters_without_head)
        asked = self.backbone.budget
        check_budget(found, preset.budget if asked is None else asked)
        return config

    def _state(self, config: LearnerConfig, dim: int) -> HostState:
        if self.learnt:
            return self.learnt.state
        stream = RandomStream(self.seed, 0)
        return draw_state(config, dim, self.settings.classes, self.settings.tasks, stream)


def plan_export(
    target: ResolvedTarget,
    backbone: BackboneOptions,
    learner: LearnerOptions,
    state: StateOptions,
    photos: PhotoOptions,
    micro_batch: int,
    out: Path,
    sign: Signing | None = None,
) -> ExportJob:
    """Return what an export is to do, and make the folder of ``out``.

    Raises:
        InputError: options contradict each other, the target or the state; or a file or a folder
            cannot be read.
    """
    _check_calibration(target, photos)
    make_folder(out.parent)
    learnt = Learnt(*load_state(state.state, print_note)) if state.state else None
    if state.tasks is not None and _of_its_kind(learner, learnt).one_pass:
        raise InputError(
            f"--tasks is {state.tasks}, and a one-pass learner knows no tasks; leave it out, or "
            "export CBPNet with --adaptation cbpnet"
        )
    classes, tasks = _capacity(state, learnt)
    names = _class_names(learnt, state.labels)
    settings = ExportSettings(target, classes, tasks, micro_batch, names)
    if learnt:
        info = learnt.info
        _check_equal("backbone", info.backbone, backbone.backbone or info.backbone)
        learner.check_state(info.config)
        learnt = Learnt(grow(learnt.state, info.config, info.dim, classes, tasks), info)
    return ExportJob(
        settings,
        backbone,
        learner,
        learnt,
        state.seed,
        read_calibration_images(photos.calibration) if photos.calibration else [],
        read_report_images(photos.images, classes) if photos.images else None,
        out,
        sign,
    )


def _of_its_kind(learner: LearnerOptions, learnt: Learnt | None) -> LearnerConfig:
    """Return settings of the kind of learner that it will be, before its backbone is known."""
    return learnt.info.config if learnt else learner.config(get_preset("vit_tiny"))


def _check_calibration(target: ResolvedTarget, photos: PhotoOptions) -> None:
    """Raise `InputError` unless there are images to calibrate on just where they are needed."""
    if photos.calibration and not target.calibrated:
        raise InputError(
            f"target {target.name} in {target.precision} needs no calibration; leave --calibration "
            "out"
        )
    if target.calibrated and not photos.calibration:
        raise InputError(
            f"target {target.name} rounds to int8 by ranges that it takes from images; name a "
            "folder with --calibration, or export in fp32 with --precision fp32"
        )


def _capacity(asked: StateOptions, learnt: Learnt | None) -> tuple[int, int]:
    """Return a bundle's classes and tasks: as asked for, or with room to learn as many again.

    A state that `train` wrote has no room beyond what it learnt.
    """
    classes, tasks = CLASSES, TASKS
    if learnt:
        info, state = learnt.info, learnt.state
        classes = max(classes, info.classes, 2 * len(info.class_names))
        tasks = max(tasks, info.tasks, 2 * state.known_tasks)
    return asked.classes or classes, asked.tasks or tasks


def _class_names(learnt: Learnt | None, labels: Path | None) -> tuple[str, ...]:
    """Return the labels of the classes that the state knows, renamed as the file says."""
    known = learnt.info.class_names if learnt else ()
    if labels is None:
        return known
    try:
        lines = labels.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"labels {labels} cannot be read as text ({error}); name a file with one label a line, "
            "in UTF-8"
        ) from error
    names = tuple(tidy_label(line, f"labels {labels}: label") for line in lines if line.strip())
    if len(names) != len(known):
        raise InputError(
            f"labels {labels} has {len(names)} labels; the state knows {len(known)} classes, and "
            "each needs one"
        )
    if len({fold_label(name) for name in names}) < len(names):
        raise InputError(f"labels {labels} has a label twice; each class needs one of its own")
    return names


def _check_equal(what: str, theirs: object, ours: object) -> None:
    """Raise `InputError` unless a state was learnt with what the bundle is made of."""
    if theirs != ours:
        raise InputError(
            f"the state was learnt with {what} {theirs}, and this is {ours}; they must be equal"
        )
