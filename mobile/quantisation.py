"""The quantisation report of an export: rounded against exact, on real images of the user's."""

from pathlib import Path

import torch

from cbpnet.backbone import Backbone
from cbpnet.data.folder import read_class_folders
from cbpnet.data.images import decode_image
from cbpnet.data.preprocess import normalise, prepare
from cbpnet.errors import InputError
from cbpnet.learner import Learner
from cbpnet.training import INFERENCE_BATCH, TaskImages, TrainingConfig, initial_state, learn_task
from quantize.report import QuantisationReport, compare_learners

__all__ = ["ReportImages", "read_report_images", "report_quantisation"]

ReportImages = list[list[Path]]

_SEED = 0
_MOST = 200  # images; what a report costs grows with them
_TRAINING = TrainingConfig(epochs=1)


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


def report_quantisation(
    backbone: Backbone, learner: Learner, images: ReportImages
) -> QuantisationReport:
    """Compare a learner on a rounded trunk with the one on the exact backbone.

    The exact learner learns the images as one task for one epoch, from nothing; in that state both
    classify them and give their gradients, ten images a time.
    """
    exact = Learner(backbone, learner.config, learner.classes, learner.tasks)
    preprocessing = backbone.preprocessing
    pixels = torch.stack(
        [prepare(decode_image(path), preprocessing) for paths in images for path in paths]
    )
    counts = torch.tensor([len(paths) for paths in images])
    labels = torch.arange(len(images)).repeat_interleave(counts)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    pixels, labels = pixels[order], labels[order]
    shown = normalise(pixels, preprocessing.mean, preprocessing.std)
    with torch.no_grad():
        query = torch.cat([exact.query(part) for part in shown.split(INFERENCE_BATCH)])
    state = learn_task(
        exact,
        initial_state(exact, _SEED),
        0,
        TaskImages(pixels, query, labels),
        preprocessing,
        _TRAINING,
        _SEED,
    )
    size = _TRAINING.batch_size
    return compare_learners(
        exact, learner, state, zip(shown.split(size), labels.split(size), strict=True)
    )
