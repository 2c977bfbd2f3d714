"""Write what the Kotlin host is checked against: bundles, photographs, random numbers, states.

    python android_demo/conformance/write_vectors.py FOLDER

The folder gets `pixels/`, photographs with what they look like to a backbone, and for each learner
and precision, in `tasks_fp32/` and the like, a bundle, photographs by class, and `lessons.json`:
what the Python host learnt from them, what it decided, how it was corrected, what it knew after
each step, each lesson and each correction, and what it then said.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import PIL
import torch
from pictures import save_class_photographs, save_odd_photographs
from safetensors.numpy import save_file

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    CBPConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.initial import draw_state
from cbpnet.method.state import HostState
from mobile.device.images import normalised, prepare_images
from mobile.device.program_steps import ProgramSteps
from mobile.device.runtime import OnDeviceLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target
from quantize.frozen_linear import Precision

EPOCHS, BATCH_SIZE = 2, 5
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
PREPROCESSING = (
    Preprocessing(32, **HALVES, interpolation="bilinear", crop_pct=1.0),
    Preprocessing(48, **IMAGENET, interpolation="bicubic", crop_pct=0.9),
    Preprocessing(224, **IMAGENET, interpolation="bicubic", crop_pct=0.875),
)

# Units are replaced every few steps, so that a wrong random number shows.
CBP = CBPConfig(replacement_rate=0.1, maturity=3, decay=0.9)
TASKS = LearnerConfig(
    PromptConfig((0,), 2, (1,), 2), BlockConfig(5), CBP, readout=ReadoutConfig("rls", features=7)
)
# Asked, the classifier is never so sure that a lesson of two classes does not adapt.
ONE_PASS = LearnerConfig(
    PromptConfig((0, 1), 3, (), replacement_rate=0.1),
    None,
    CBP,
    readout=ReadoutConfig("whitened"),
    adaptation=AdaptationConfig("auto", fewest_classes=2, confidence=1.0),
    features=("pooled", "patches", "logits20", "random15"),
)


@dataclass(frozen=True)
class Teaching:
    """What is taught in a lesson: how many photographs of each class, and the task they join."""

    counts: dict[str, int]
    joined_task: int | None = None


@dataclass(frozen=True)
class Course:
    """The lessons of a bundle, and what is corrected afterwards.

    A correction is what the host does, with its arguments; images are those of a class that are
    taught in a lesson, or fresh ones.
    """

    config: LearnerConfig
    precision: Precision
    micro_batch: int
    lessons: tuple[Teaching, ...]
    corrections: tuple[dict[str, Any], ...] = ()


# Two new classes, one more, a known one beside a new one, one that joins; none divides evenly.
TASK_LESSONS = (
    Teaching({"temple": 7, "flower": 6}),
    Teaching({"portrait": 7}),
    Teaching({"flower": 4, "sky": 6}),
    Teaching({"leaf": 3}, joined_task=2),
)
# The first adapts, one class does not, and the third has more to say than the classifier.
ONE_PASS_LESSONS = (*TASK_LESSONS[:3], Teaching({"leaf": 3}))
# Both lessons that were undone come back; the journal has no room for what was before the last, of
# which a class goes for good.
CORRECTIONS: tuple[dict[str, Any], ...] = (
    *({"do": "undo"}, {"do": "undo"}, {"do": "redo"}, {"do": "redo"}),
    {"do": "forget", "label": "portrait"},
    {"do": "rename", "label": "sky", "new": "air"},
    {"do": "relabel", "images": ["flower_6.png", "flower_7.png"], "label": "leaf"},
    {"do": "merge", "label": "leaf", "into": "temple"},
    *({"do": "undo"}, {"do": "undo"}, {"do": "redo"}),
    {
        "do": "learn",
        "images": {"leaf": ["leaf_3.png", "leaf_4.png"]},
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "journal": 4000,
    },
    {"do": "undo"},
    {"do": "forget", "label": "air", "for_good": True},
)
_ALWAYS = replace(ONE_PASS, adaptation=AdaptationConfig("always"))

COURSES = {
    "tasks_fp32": Course(TASKS, "fp32", 2, TASK_LESSONS),
    "tasks_int8": Course(TASKS, "int8", 3, TASK_LESSONS),
    "one_pass_fp32": Course(ONE_PASS, "fp32", 2, ONE_PASS_LESSONS, CORRECTIONS),
    "one_pass_int8": Course(_ALWAYS, "int8", 3, ONE_PASS_LESSONS, CORRECTIONS),
}


def write_pixels(folder: Path) -> None:
    """Write photographs of odd sizes, and each as each kind of preprocessing leaves it."""
    photographs = save_odd_photographs(folder)
    tensors, cases = {}, []
    for number, preprocessing in enumerate(PREPROCESSING):
        for name in photographs:
            pixels = prepare_images([folder / name], preprocessing)
            key = f"{number}/{name}"
            tensors[f"{key}/pixels"] = pixels[0].astype(np.float32)
            tensors[f"{key}/images"] = normalised(pixels, preprocessing)[0]
            cases.append({"file": name, "tensor": key, "preprocessing": asdict(preprocessing)})
    save_file(tensors, folder / "expected.safetensors")
    (folder / "cases.json").write_text(json.dumps({"cases": cases}))


def export_micro(path: Path, course: Course) -> None:
    """Write a bundle of a vision transformer of two layers, which is not pretrained."""
    torch.manual_seed(5)
    wanted = {"interpolation": "bicubic", "crop_pct": 0.9, **IMAGENET}
    vit = import_timm().create_model(
        "vit_micro_patch8_32",
        depth=2,
        embed_dim=32,
        num_heads=2,
        num_classes=20,
        pretrained_cfg_overlay=wanted,
    )
    backbone = Backbone("vit_micro_patch8_32", vit)
    config, tasks = course.config, 1 if course.config.one_pass else 4
    state = draw_state(config, backbone.dim, 6, tasks, RandomStream(2, 0))
    target = resolve_target("xnnpack", course.precision)
    settings = ExportSettings(target, classes=6, tasks=4, micro_batch=course.micro_batch)
    export_bundle(path, backbone, config, state, settings)


def write_course(folder: Path, course: Course) -> None:
    """Teach and correct the bundle in a folder with the Python host, and write down everything."""
    photographs = save_class_photographs(
        folder, {name: 14 for teaching in course.lessons for name in teaching.counts}
    )
    host = OnDeviceLearner(folder / "bundle.pte")
    content = {
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "lessons": _lessons(host, folder, course.lessons, photographs),
        "corrections": list(_corrections(host, folder, course.corrections, photographs)),
    }
    (folder / "lessons.json").write_text(json.dumps(content))


def _lessons(
    host: OnDeviceLearner,
    folder: Path,
    teachings: Sequence[Teaching],
    photographs: dict[str, list[str]],
) -> list[dict[str, Any]]:
    """Teach lessons, and return what the host did and said."""
    fresh = {name: iter(files) for name, files in photographs.items()}
    written = []
    for number, teaching in enumerate(teachings):
        given = {name: [next(fresh[name]) for _ in range(n)] for name, n in teaching.counts.items()}
        steps: list[HostState] = []
        with patch.object(ProgramSteps, "update", _recording(steps)):
            lessons = host.learn(
                {name: [folder / file for file in files] for name, files in given.items()},
                EPOCHS,
                BATCH_SIZE,
                task=teaching.joined_task,
            )
        host.save(folder / f"state_{number}.safetensors")
        shown = [file for label in host.class_names for file in photographs[label]]
        tensors = {
            f"{step}/{name}": np.ascontiguousarray(value)
            for step, trained in enumerate(steps)
            for name, value in trained.items()
        }
        save_file(tensors, folder / f"steps_{number}.safetensors")
        decision = lessons[0].decision
        written.append(
            {
                "pictures": given,
                "joined_task": teaching.joined_task,
                "steps": len(steps),
                "decision": None if decision is None else asdict(decision),
                "predictions": list(_predictions(host, folder, shown)),
            }
        )
    return written


def _corrections(
    host: OnDeviceLearner,
    folder: Path,
    corrections: Sequence[dict[str, Any]],
    photographs: dict[str, list[str]],
) -> Iterator[dict[str, Any]]:
    """Correct what was taught, and yield what the host did and said, of some of all photographs."""
    shown = [file for files in photographs.values() for file in files[::4]]
    for number, correction in enumerate(corrections):
        _correct(host, folder, **correction)
        host.save(folder / f"corrected_{number}.safetensors")
        yield correction | {"predictions": list(_predictions(host, folder, shown))}


def _correct(
    host: OnDeviceLearner, folder: Path, do: str, images: Any = None, **given: Any
) -> None:
    if isinstance(images, dict):
        given["images"] = {label: [folder / file for file in few] for label, few in images.items()}
    elif images is not None:
        given["images"] = [folder / file for file in images]
    getattr(host, do)(**given)


def _recording(steps: list[HostState]) -> Callable[..., HostState]:
    """Return an `update` that keeps what each step makes of the state."""
    update = ProgramSteps.update

    def recorded(self: ProgramSteps, *given: Any) -> HostState:
        steps.append(update(self, *given))
        return steps[-1]

    return recorded


def _predictions(
    host: OnDeviceLearner, folder: Path, files: Sequence[str]
) -> Iterator[dict[str, object]]:
    """Yield what the host says of photographs."""
    for file in files:
        (found,) = host.predict(folder / file)
        unknown = found.unknown_score
        yield {"picture": file, "task": found.task, "ranking": found.ranking, "unknown": unknown}


def main(out: Path) -> None:
    """Write everything."""
    if int(PIL.__version__.partition(".")[0]) < 13:
        sys.exit(f"Pillow 13 or newer is needed: {PIL.__version__} resizes tall images otherwise")
    torch.set_num_threads(1)
    write_pixels(out / "pixels")
    for name, course in COURSES.items():
        (out / name).mkdir(parents=True, exist_ok=True)
        export_micro(out / name / "bundle.pte", course)
        write_course(out / name, course)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
