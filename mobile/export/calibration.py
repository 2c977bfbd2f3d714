"""What an export does with real images of the user's: it calibrates, and reports on rounding."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cbpnet.backbone.vit import Backbone
from cbpnet.data.folder import read_class_folders
from cbpnet.data.pixels import load_image, normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig
from cbpnet.method.eager import EagerLearner
from cbpnet.method.layout import part, trainable_layout
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.prompts import prefixes
from cbpnet.method.tensors import as_tensors, tensor_of
from cbpnet.run.training import (
    TaskImages,
    TrainingConfig,
    initial_state,
    learn_task,
    portions,
)
from mobile.export.bundle_learner import BundleLearner
from quantize.learner_agreement import QuantisationReport, compare_learners
from quantize.one_pass_agreement import OnePassReport, compare_one_pass_learners
from quantize.static_int8 import Prefixes

__all__ = [
    "ReportImages",
    "calibration_batches",
    "calibration_passes",
    "read_calibration_images",
    "read_report_images",
    "report_quantisation",
]

ReportImages = list[list[Path]]

_SEED = 0
_MOST = 200  # images; what a report costs grows with them
_TRAINING = TrainingConfig(epochs=1)

_CALIBRATING, _CALIBRATING_BATCH = 64, 8  # images; more widen the ranges little
# Of the prompts' entries. What ten tasks of CIFAR-100 left in a ViT-Ti's prompts has 0.5 to 1.0.
_PROMPT_DEVIATION = 1.0


def read_report_images(folder: Path, classes: int) -> ReportImages:
    """Return the image files of a folder of class folders, as many of each class as fit.

    Raises:
        InputError: the folder has fewer than two classes, more than ``classes``, or unreadable
            images.
    """
    found, _ = read_class_folders(folder)
    if not 2 <= len(found) <= classes:
        raise InputError(
            f"{folder} has {len(found)} classes of images; a report needs 2 to {classes}, the "
            "capacity of the bundle"
        )
    each = max(1, _MOST // len(found))
    return [paths[:each] for paths in found.values()]


def read_calibration_images(folder: Path) -> list[Path]:
    """Return image files of a folder of class folders, as many of each class as fit.

    Raises:
        InputError: the folder has no class folder with a readable image.
    """
    found, _ = read_class_folders(folder)
    turns = zip_longest(*found.values())  # a first image of every class, then a second
    return [path for turn in turns for path in turn if path is not None][:_CALIBRATING]


def calibration_batches(images: Sequence[Path], preprocessing: Preprocessing) -> list[Tensor]:
    """Return image files as normalised batches [B, 3, S, S]."""
    pixels = np.stack([load_image(path, preprocessing) for path in images])
    shown = tensor_of(normalise(pixels, preprocessing.mean, preprocessing.std))
    return list(shown.split(_CALIBRATING_BATCH))


def calibration_passes(config: LearnerConfig, dim: int) -> list[Prefixes]:
    """Return the prefixes to calibrate with: none where images go without, and prompts.

    The prompts are drawn: those that a device will learn do not exist yet. How large they may
    become hardly matters, see docs/quantisation.md. A one-pass learner has them always, and those
    of zeros too.
    """
    generator = torch.Generator().manual_seed(_SEED)
    drawn = {
        name: _PROMPT_DEVIATION * torch.randn(shape, generator=generator)
        for name, shape in trainable_layout(config, dim, classes=0).items()
        if part(name) == "prompts"
    }
    if not drawn:
        return [None]
    if config.one_pass:
        return [_prefixes(config, drawn), _prefixes(config, {n: 0 * p for n, p in drawn.items()})]
    return [None, _prefixes(config, drawn)]


def _prefixes(config: LearnerConfig, drawn: Mapping[str, Tensor]) -> Prefixes:
    prompts = config.prompts
    g_prompt, e_prompt = drawn.get("prompts.g"), drawn.get("prompts.e")
    return prefixes(g_prompt, e_prompt, prompts.g_layers, prompts.e_layers)


def report_quantisation(
    backbone: Backbone, learner: BundleLearner, images: ReportImages
) -> QuantisationReport | OnePassReport:
    """Compare a learner on a rounded trunk with the one on the exact backbone, ten images a time.

    The paper's exact learner learns the images as one task for one epoch, from nothing; in that
    state both classify them and give their gradients. One-pass learners count them.
    """
    preprocessing = backbone.preprocessing
    pixels, labels = _read_images(images, preprocessing)
    shown = normalise(pixels, preprocessing.mean, preprocessing.std)
    size = _TRAINING.batch_size
    rows = zip(portions(shown, size), portions(labels, size), strict=True)
    batches = [(tensor_of(few), tensor_of(classes)) for few, classes in rows]
    if isinstance(learner, OnePassLearner):
        counting = OnePassLearner(backbone, learner.config, learner.classes)
        start = counting.initial_state(RandomStream(_SEED, 0))
        return compare_one_pass_learners(counting, learner, start, batches)
    exact = Learner(backbone, learner.config, learner.classes, learner.tasks)
    host = EagerLearner(exact)
    query = np.concatenate([host.query(part) for part in portions(shown)])
    state = learn_task(
        host,
        initial_state(host, _SEED),
        0,
        TaskImages(pixels, labels, query),
        preprocessing,
        _TRAINING,
        _SEED,
    )
    return compare_learners(exact, learner, as_tensors(state), batches)


def _read_images(images: ReportImages, preprocessing: Preprocessing) -> tuple[Array, Array]:
    """Return the pixels of images in a random order, and their labels."""
    pixels = np.stack([load_image(path, preprocessing) for paths in images for path in paths])
    labels = np.repeat(np.arange(len(images)), [len(paths) for paths in images])
    order = RandomStream(_SEED, 0).permutation(len(labels))
    return pixels[order], labels[order]
