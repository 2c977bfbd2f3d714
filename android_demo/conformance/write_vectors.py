"""Write what the Kotlin host is checked against: bundles, photographs, random numbers, states.

    python android_demo/conformance/write_vectors.py FOLDER

The folder gets `pixels/`, photographs with what they look like to a backbone, and for each
precision a bundle, photographs by class, and `lessons.json`: what the Python host learnt from them,
with which random numbers, what it knew after each step and each lesson, and what it then said.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import PIL
import torch
from pictures import save_class_photographs, save_odd_photographs
from safetensors.torch import save_file
from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.random_streams import random_stream
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    CBPConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.initial import draw_state
from cbpnet.method.learner_interface import GradientSums
from cbpnet.method.state import LearnerState
from mobile.device.images import normalised, prepare_images
from mobile.device.program_learner import ProgramLearner
from mobile.device.runtime import OnDeviceLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target
from quantize.frozen_linear import Precision

EPOCHS, BATCH_SIZE = 2, 5
MICRO_BATCHES: dict[Precision, int] = {"fp32": 2, "int8": 3}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
PREPROCESSING = (
    Preprocessing(32, **HALVES, interpolation="bilinear", crop_pct=1.0),
    Preprocessing(48, **IMAGENET, interpolation="bicubic", crop_pct=0.9),
    Preprocessing(224, **IMAGENET, interpolation="bicubic", crop_pct=0.875),
)

# Units are replaced every few steps, so that a wrong random number shows.
CONFIG = LearnerConfig(
    PromptConfig((0,), 2, (1,), 2),
    BlockConfig(5),
    CBPConfig(replacement_rate=0.1, maturity=3, decay=0.9),
    readout=ReadoutConfig("rls", features=7),
    adaptation=AdaptationConfig("cbpnet", final_rate=1.0),
)


@dataclass(frozen=True)
class Teaching:
    """What is taught in a lesson: how many photographs of each class, and the task they join."""

    counts: dict[str, int]
    joined_task: int | None = None


# Two new classes, one more, a known one beside a new one, one that joins; none divides evenly.
LESSONS = (
    Teaching({"temple": 7, "flower": 6}),
    Teaching({"portrait": 7}),
    Teaching({"flower": 4, "sky": 5}),
    Teaching({"leaf": 3}, joined_task=2),
)


class Recording(ProgramLearner):
    """A bundle's learner that keeps what each step makes of the state."""

    steps: ClassVar[list[LearnerState]] = []

    def update(
        self, state: LearnerState, sums: GradientSums, noise: Tensor, rate: Tensor
    ) -> LearnerState:
        after = super().update(state, sums, noise, rate)
        self.steps.append(after)
        return after


def write_pixels(folder: Path) -> None:
    """Write photographs of odd sizes, and each as each kind of preprocessing leaves it."""
    photographs = save_odd_photographs(folder)
    tensors, cases = {}, []
    for number, preprocessing in enumerate(PREPROCESSING):
        for name in photographs:
            pixels = prepare_images([folder / name], preprocessing)
            key = f"{number}/{name}"
            tensors[f"{key}/pixels"] = pixels[0].to(torch.float32)
            tensors[f"{key}/images"] = normalised(pixels, preprocessing)[0].contiguous()
            cases.append({"file": name, "tensor": key, "preprocessing": asdict(preprocessing)})
    save_file(tensors, folder / "expected.safetensors")
    (folder / "cases.json").write_text(json.dumps({"cases": cases}))


def export_micro(path: Path, precision: Precision, micro_batch: int) -> None:
    """Write a bundle of a vision transformer of two layers, which is not pretrained."""
    torch.manual_seed(5)
    wanted = {"interpolation": "bicubic", "crop_pct": 0.9, **IMAGENET}
    vit = import_timm().create_model(
        "vit_micro_patch8_32",
        depth=2,
        embed_dim=32,
        num_heads=2,
        pretrained_cfg_overlay=wanted,
    )
    backbone = Backbone("vit_micro_patch8_32", vit)
    state = draw_state(CONFIG, backbone.dim, 6, 4, torch.Generator().manual_seed(2))
    target = resolve_target("xnnpack", precision)
    settings = ExportSettings(target, classes=6, tasks=4, micro_batch=micro_batch)
    export_bundle(path, backbone, CONFIG, state, settings)


def write_lessons(folder: Path) -> None:
    """Teach the bundle in a folder with the Python host, and write down everything."""
    photographs = save_class_photographs(
        folder, {name: 14 for teaching in LESSONS for name in teaching.counts}
    )
    with patch("mobile.device.task_teacher.ProgramLearner", Recording):
        host = OnDeviceLearner(folder / "bundle.pte")
    fresh = {name: iter(files) for name, files in photographs.items()}
    written = []
    for number, teaching in enumerate(LESSONS):
        given = {name: [next(fresh[name]) for _ in range(n)] for name, n in teaching.counts.items()}
        Recording.steps = []
        seed = host.lessons
        lessons = host.learn(
            {name: [folder / file for file in files] for name, files in given.items()},
            EPOCHS,
            BATCH_SIZE,
            task=teaching.joined_task,
        )
        host.save(folder / f"state_{number}.safetensors")
        steps = {
            f"{step}/{name}": value.clone()
            for step, state in enumerate(Recording.steps)
            for name, value in state.items()
        }
        save_file(steps, folder / f"steps_{number}.safetensors")
        numbers = [
            _random_numbers(seed, lesson.task - 1, lesson.images, host) for lesson in lessons
        ]
        written.append(
            {
                "pictures": given,
                "joined_task": teaching.joined_task,
                "random": numbers,
                "steps": len(Recording.steps),
                "predictions": list(_predictions(host, folder, photographs)),
            }
        )
    content = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "lessons": written}
    (folder / "lessons.json").write_text(json.dumps(content))


def _random_numbers(
    seed: int, task: int, images: int, host: OnDeviceLearner
) -> dict[str, int | list[int] | list[float]]:
    """Return the orders and the noise that `cbpnet.run.training.learn_task` draws for a task."""
    generator = random_stream(seed, task + 1)
    shape = next(t.shape for t in host.manifest.methods["update"].inputs if t.name == "noise")
    orders, noise = [], []
    for _ in range(EPOCHS):
        orders.append(torch.randperm(images, generator=generator))
        for batch in orders[-1].split(BATCH_SIZE):
            torch.rand(len(batch), generator=generator)  # which images would be mirrored
            noise.append(torch.rand(shape, generator=generator).flatten())
    return {
        "task": task,
        "orders": torch.cat(orders).tolist(),
        "noise": torch.cat(noise).tolist(),
    }


def _predictions(
    host: OnDeviceLearner, folder: Path, photographs: dict[str, list[str]]
) -> Iterator[dict[str, object]]:
    """Yield what the host says of all photographs of the classes that it knows."""
    for label in host.class_names:
        for file in photographs[label]:
            (found,) = host.predict(folder / file)
            yield {"picture": file, "task": found.task, "ranking": found.ranking}


def main(out: Path) -> None:
    """Write everything."""
    if int(PIL.__version__.partition(".")[0]) < 13:
        sys.exit(f"Pillow 13 or newer is needed: {PIL.__version__} resizes tall images otherwise")
    torch.set_num_threads(1)
    write_pixels(out / "pixels")
    for precision, micro_batch in MICRO_BATCHES.items():
        (out / precision).mkdir(parents=True, exist_ok=True)
        export_micro(out / precision / "bundle.pte", precision, micro_batch)
        write_lessons(out / precision)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
