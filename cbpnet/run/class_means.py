"""What an older state knows that a one-pass learner can use: its classes' counts and means."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.dataclass_json import from_json, read_json
from cbpnet.host.errors import InputError
from cbpnet.run.previous_state import Say, read_newest, warn
from cbpnet.run.state_checks import check_names
from cbpnet.run.state_file import VERSION, read_intact

__all__ = ["ClassMeans", "read_class_means"]

_OLDEST = 1  # format version of a state file


@dataclass(frozen=True)
class _Origin:
    """Whose states of any version they are: the entries of their info that never changed."""

    backbone: str
    weights: str
    dim: int
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class ClassMeans(_Origin):
    """The known classes' images, ``count`` [K], and their mean un-prompted features, [K, D].

    ``backbone`` is the backbone's timm name, ``weights`` its fingerprint and ``dim`` its width D.
    """

    count: Array
    mean: Array


def read_class_means(path: Path, say: Say = warn) -> ClassMeans:
    """Read them from a state file of the paper's learner, of any format version.

    ``say`` is told where the file is damaged and the one before it is read.

    Raises:
        InputError: the file is missing, damaged, no learner state, that of a one-pass learner, or
            its tensors are not those that its info describes.
    """
    versions = range(_OLDEST, VERSION + 1)
    text, tensors = read_newest(path, lambda file: read_intact(file, versions), say)
    try:
        info = read_json(dict[str, Any], text)
        known = {field.name: info[field.name] for field in fields(_Origin) if field.name in info}
        origin = from_json(_Origin, known)
        if "classes.scatter" in tensors:
            raise ValueError("it is a one-pass learner's already; go on from it with --state")
        check_names(origin.class_names, "class")
        count, mean = _known_part(origin, tensors)
    except ValueError as error:
        raise InputError(f"nothing can be taken over from state file {path}: {error}") from error
    return ClassMeans(**vars(origin), count=count, mean=mean)


def _known_part(origin: _Origin, tensors: Mapping[str, Array]) -> tuple[Array, Array]:
    known = len(origin.class_names)
    found = []
    for name, width in (("classes.count", ()), ("classes.mean", (origin.dim,))):
        tensor = tensors.get(name, np.empty(0))
        rows = tensor.shape[:1]
        if tensor.dtype != np.float32 or not rows or tensor.shape != (*rows, *width):
            raise ValueError(f"its tensor {name!r} is not fp32 {['C', *width]}")
        found.append(tensor[:known])
    count, mean = found
    if not known:
        raise ValueError("it knows no class")
    if len(count) != known or len(mean) != known or not (count > 0).all():
        raise ValueError(f"it names {known} classes and has not the images of each of them")
    if not (np.isfinite(count).all() and np.isfinite(mean).all()):
        raise ValueError("a count or mean is not finite")
    return count, mean
