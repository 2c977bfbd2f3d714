"""Whether a bundle's manifest can be believed: numbers are in range, and names can be shown."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from cbpnet.data.labels import tidy_label
from cbpnet.method.layout import MethodName
from mobile.device.manifest import Manifest

__all__ = ["check_manifest"]

_DTYPES = {"float32": 4, "int64": 8}  # bytes of an element
_MOST_AXES = 8
_MOST_BYTES = 1 << 31  # of a tensor

# The least and the most that each of these may be.
_RANGES: dict[str, tuple[float, float]] = {
    "classes": (1, 1 << 20),
    "tasks": (1, 1 << 16),
    "micro_batch": (1, 1 << 12),
    "image_size": (1, 1 << 12),
    "trainable_parameters": (0, 1 << 40),
    "trainable_fraction": (0, 1 << 20),
    "head_parameters": (0, 1 << 40),
    "backbone.parameters": (1, 1 << 40),
    "backbone.dim": (1, 1 << 16),
    "preprocessing.image_size": (1, 1 << 12),
    "preprocessing.crop_pct": (0.01, 4),
    "limits.planned_bytes": (0, 1 << 32),
}
_WORK = (0, 1 << 62)  # calls and operations of a method


def check_manifest(manifest: Manifest) -> None:
    """Check a manifest.

    Raises:
        ValueError: an entry is out of its range, a name is empty, cannot be shown or stands twice,
            or a dtype or a method is none of a bundle's; the message says which.
    """
    for name, (least, most) in _RANGES.items():
        value = manifest
        for part in name.split("."):
            value = getattr(value, part)
        _check_number(name, value, least, most)  # type: ignore[arg-type]  # as its annotation says
    images = manifest.preprocessing
    for name, numbers, least in (("mean", images.mean, -1e3), ("std", images.std, 1e-6)):
        for number in numbers:
            _check_number(f"preprocessing.{name}", number, least, 1e3)
    for name, text in _texts(manifest):
        _check(f"{name}", text, bool(text) and text.isprintable(), "text that can be shown")
    for name in manifest.class_names:
        tidy_label(name, "class_names:")
    _check_once("class_names", manifest.class_names)
    known = len(manifest.class_names)
    _check(
        "the number of class_names", known, known <= manifest.classes, f"at most {manifest.classes}"
    )
    for name, tensors in (("state", manifest.state), ("adaptation", manifest.adaptation)):
        _check_once(name, [tensor.name for tensor in tensors])
        for tensor in tensors:
            _check_tensor(f"{name}.{tensor.name}", "float32", tensor.shape)
    for method, info in manifest.methods.items():
        right = get_args(MethodName)
        _check("methods", method, method in right, f"of {', '.join(right)}")
        for kind, passed in (("inputs", info.inputs), ("outputs", info.outputs)):
            _check_once(f"methods.{method}.{kind}", [tensor.name for tensor in passed])
            for each in passed:
                _check_tensor(f"methods.{method}.{kind}.{each.name}", each.dtype, each.shape)
        counts = {"delegate_calls": info.delegate_calls, "macs": info.macs}
        for name, count in (counts | {"undelegated_macs": info.undelegated_macs}).items():
            _check_number(f"methods.{method}.{name}", count, *_WORK)
        for name, count in info.undelegated.items():
            _check_number(f"methods.{method}.undelegated.{name}", count, *_WORK)


def _texts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what is shown of a manifest, and is no class's name."""
    yield "target", manifest.target
    yield "precision", manifest.precision
    yield "backbone.name", manifest.backbone.name
    yield "backbone.weights", manifest.backbone.weights
    yield "preprocessing.interpolation", manifest.preprocessing.interpolation
    for name, texts in (
        ("target_options", manifest.target_options),
        ("versions", manifest.versions),
    ):
        for key, text in texts.items():
            yield name, key
            yield f"{name}.{key}", text
    for name, tensors in (("state", manifest.state), ("adaptation", manifest.adaptation)):
        for tensor in tensors:
            yield name, tensor.name
    for method, info in manifest.methods.items():
        for operator in info.undelegated:
            yield f"methods.{method}.undelegated", operator
        for each in (*info.inputs, *info.outputs):
            yield f"methods.{method}", each.name


def _check_tensor(name: str, dtype: str, shape: Sequence[int]) -> None:
    _check(f"{name}.dtype", dtype, dtype in _DTYPES, f"{' or '.join(_DTYPES)}")
    fits = len(shape) <= _MOST_AXES and min(shape, default=0) >= 0
    right = f"at most {_MOST_AXES} lengths of 0 or more, of {_MOST_BYTES:,} bytes in all"
    small = fits and math.prod(shape) * _DTYPES[dtype] <= _MOST_BYTES
    _check(f"{name}.shape", list(shape), small, right)


def _check_once(name: str, texts: Iterable[str]) -> None:
    found: set[str] = set()
    for text in texts:
        _check(name, text, text not in found, "each name once")
        found.add(text)


def _check_number(name: str, value: float, least: float, most: float) -> None:
    _check(name, value, least <= value <= most, f"from {least:,} to {most:,}")  # NaN is in no range


def _check(name: str, value: object, holds: bool, right: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; right would be {right}")
