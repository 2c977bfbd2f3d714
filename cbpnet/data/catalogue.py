"""The data sets by the names that commands use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cbpnet.data.cifar100 import load_cifar100
from cbpnet.data.dataset import Dataset
from cbpnet.data.digits import load_digits
from cbpnet.data.folder import Progress, load_folder, load_imagenet_r
from cbpnet.host.errors import InputError

__all__ = ["DATASETS", "DatasetKind", "load_dataset"]


@dataclass(frozen=True)
class DatasetKind:
    """How a data set is loaded: from a `path` (described here), strictly or not, with progress.

    `path` is None for a data set that comes with a library.
    """

    path: str | None
    load: Callable[[Path, bool, Progress], Dataset]


DATASETS = {
    "cifar100": DatasetKind(
        "cifar-100-python, as a folder or an archive",
        lambda path, strict, progress: load_cifar100(path),
    ),
    "imagenet-r": DatasetKind(
        "ImageNet-R's folder of 200 class folders",
        lambda path, strict, progress: load_imagenet_r(path, strict=strict, progress=progress),
    ),
    "folder": DatasetKind(
        "a folder with one folder of images for each class, or a tar of it",
        lambda path, strict, progress: load_folder(path, strict=strict, progress=progress),
    ),
    "digits": DatasetKind(None, lambda path, strict, progress: load_digits()),
}


def load_dataset(
    spec: str, path: Path | None = None, *, strict: bool = False, progress: Progress = iter
) -> Dataset:
    """Load the data set named `spec`, a key of `DATASETS`, from `path`.

    `strict` and `progress` are for data sets of image files, as in `load_folder`.
    Raises InputError for an unknown name, for a path that is missing or has no use, and what the
    data set's own loader raises.
    """
    if spec not in DATASETS:
        raise InputError(f"data set {spec!r} is unknown; right would be {', '.join(DATASETS)}")
    kind = DATASETS[spec]
    if path is None and kind.path is not None:
        raise InputError(f"data set {spec!r} needs a path; right would be {kind.path}")
    if path is not None and kind.path is None:
        raise InputError(f"data set {spec!r} was given {path}; it is built in and takes no path")
    return kind.load(path or Path(), strict, progress)
