"""What a session needs, made on this machine: bundles of a micro ViT, and pictures of digits."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from cbpnet.backbone.micro_vit import pretrain_micro_vit
from cbpnet.backbone.presets import get_preset
from cbpnet.backbone.vit import load_backbone
from cbpnet.data.digits import load_digits
from cbpnet.data.images import ImageSource
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.sampling import Indices
from cbpnet.method.config import CBPConfig
from cbpnet.method.eager import EagerLearner
from cbpnet.method.learner import Learner
from cbpnet.run.training import (
    TaskImages,
    TrainingConfig,
    compute_queries,
    initial_state,
    learn_task,
)
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target
from quantize.frozen_linear import Precision

__all__ = ["make_bundles", "make_pictures"]

_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")

_KNOWN = (0, 1, 2, 3)
# The last lesson has more images of a class of the first one, and so two tasks.
_LESSONS = ((4, 5), (6, 7), (8, 9, 4))
_LEARNT, _TESTED = 10, 6  # images of a digit
_CLASSES, _TASKS = 10, 4
_PRETRAINING_EPOCHS = 5
_MICRO_BATCH = 4  # does not divide a step of ten images: padding is needed
# A unit is replaced every few steps: a session this short would see none otherwise.
_CBP = CBPConfig(replacement_rate=0.02, maturity=5)


def make_bundles(folder: Path) -> None:
    """Write `fp32.pte` and `int8.pte`, which know the digits 0 to 3 and have room for the others.

    Their backbone has seen all digits: the question is not how well it learns.
    """
    digits, preset = load_digits(), get_preset("micro")
    preprocessing = load_backbone(preset.backbone, pretrained=False).preprocessing
    pixels = load_batch(digits.train, range(len(digits.train)), preprocessing)
    images = torch.from_numpy(normalise(pixels, preprocessing.mean, preprocessing.std))
    labels = digits.train.labels
    weights = folder / "micro_vit.safetensors"
    save_file(pretrain_micro_vit(images, torch.from_numpy(labels), _PRETRAINING_EPOCHS), weights)

    backbone = load_backbone(preset.backbone, weights)
    config = replace(preset.config("cbpnet"), cbp=_CBP)
    server = EagerLearner(Learner(backbone, config, _CLASSES, _TASKS))
    known = np.concatenate([_of_digit(digits.train, digit)[:_LEARNT] for digit in _KNOWN])
    shown = TaskImages(
        pixels[known], labels[known], compute_queries(server, digits.train, known, preprocessing)
    )
    start = initial_state(server, seed=0)
    state = learn_task(server, start, 0, shown, preprocessing, TrainingConfig(epochs=1), seed=0)
    names = tuple(digits.class_names[digit] for digit in _KNOWN)
    for precision in _PRECISIONS:
        settings = ExportSettings(
            resolve_target("xnnpack", precision),
            _CLASSES,
            _TASKS,
            micro_batch=_MICRO_BATCH,
            class_names=names,
        )
        export_bundle(folder / f"{precision}.pte", backbone, config, state, settings)


def make_pictures(folder: Path) -> None:
    """Write the digits as files: `lessons/NUMBER/LABEL/*.png` and `test/LABEL/*.png`."""
    digits = load_digits()
    taken: Counter[int] = Counter()
    for number, lesson in enumerate(_LESSONS):
        for digit in lesson:
            target = folder / "lessons" / str(number) / digits.class_names[digit]
            first = taken[digit]
            _write(digits.train, _of_digit(digits.train, digit)[first : first + _LEARNT], target)
            taken[digit] += _LEARNT
    for digit, name in enumerate(digits.class_names):
        _write(digits.test, _of_digit(digits.test, digit)[:_TESTED], folder / "test" / name)


def _of_digit(source: ImageSource, digit: int) -> Indices:
    return np.flatnonzero(source.labels == digit)


def _write(source: ImageSource, indices: Indices, folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in indices.tolist():
        source.image(index).save(folder / f"{index:04}.png")
