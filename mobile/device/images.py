"""Images as a program holds them, for a backbone that wants them its own way."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cbpnet.data.labels import tidy_label
from cbpnet.data.pixels import load_image, normalise, prepare
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.upright import upright_rgb
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.run.training import LessonImages, Progress

__all__ = [
    "ImageLike",
    "Images",
    "as_list",
    "by_label",
    "lesson_images",
    "normalised",
    "prepare_images",
]

ImageLike = str | Path | Image.Image | npt.NDArray[Any]
Images = ImageLike | Iterable[ImageLike]

_KINDS = (
    "a path, a Pillow image, a uint8 array [H, W, 3], or a normalised fp32 array or tensor "
    "[3, {0}, {0}]"
)


def as_list(images: Images) -> list[ImageLike]:
    """Return one image, a batch in one tensor or array, or several images as a list of images."""
    if isinstance(images, str | Path | Image.Image):
        return [images]
    if getattr(images, "ndim", 4) <= 3:  # an array or a tensor
        return [images]  # type: ignore[list-item]
    return list(images)


def by_label(images: Mapping[str, Images]) -> dict[str, list[ImageLike]]:
    """Return a lesson's images by tidy label, see `cbpnet.data.labels.tidy_label`.

    Raises:
        InputError: a label has no images, cannot be one, or stands there twice.
    """
    lists: dict[str, list[ImageLike]] = {}
    for text, few in images.items():
        label = tidy_label(text)
        if label in lists:
            raise InputError(f"label {text!r} stands there twice; right would be once")
        lists[label] = as_list(few)
        if not lists[label]:
            raise InputError(f"class {label!r} has no images; right would be one or more")
    return lists


def prepare_images(
    images: Iterable[ImageLike],
    preprocessing: Preprocessing,
    first: int = 1,
    prepared: Progress = lambda images: None,
) -> Array:
    """Return images as `TaskImages` takes them: uint8 [N, S, S, 3], or fp32 [N, 3, S, S].

    Paths, Pillow images and arrays of pixels are resized and cropped; a large picture takes the
    least memory as the path of a JPEG, which is decoded at a fraction of its size. Floating-point
    numbers [3, S, S] are taken to be normalised already, and then all are. ``prepared`` is told of
    each image.

    Raises:
        InputError: an image cannot be read, is of another kind, or holds NaN or infinity; the
            message names it by its path or its number, of which ``first`` is the first.
    """
    pixels = []
    for number, image in enumerate(images, first):
        pixels.append(_prepare_one(image, number, preprocessing))
        prepared(1)
    if any(image.dtype != np.uint8 for image in pixels):
        pixels = [normalised(image[np.newaxis], preprocessing)[0] for image in pixels]
    return np.stack(pixels)


def lesson_images(
    images: Mapping[int, Sequence[ImageLike]], preprocessing: Preprocessing, prepared: Progress
) -> LessonImages:
    """Return images by class number as a lesson; tells and raises as `prepare_images`."""
    flat = [image for few in images.values() for image in few]
    pixels = prepare_images(flat, preprocessing, prepared=prepared)
    labels = np.repeat(np.array(list(images), np.int64), [len(few) for few in images.values()])
    return LessonImages(pixels, labels)


def normalised(pixels: Array, preprocessing: Preprocessing) -> Array:
    """Return what `prepare_images` gave as the backbone takes it: fp32 [N, 3, S, S]."""
    if pixels.dtype == np.uint8:
        return normalise(pixels, preprocessing.mean, preprocessing.std)
    return pixels


def _prepare_one(image: ImageLike, number: int, preprocessing: Preprocessing) -> Array:
    size, image = preprocessing.image_size, _as_array(image)
    match image:
        case str() | Path():
            return load_image(Path(image), preprocessing)
        case Image.Image():
            try:
                return prepare(upright_rgb(image), preprocessing)
            except MemoryError as error:
                raise InputError(
                    f"image {number} has {image.width} x {image.height} pixels, for which there is "
                    "not memory enough; right would be the path of a JPEG, or a smaller picture"
                ) from error
            except (OSError, SyntaxError, ValueError) as error:
                raise InputError(
                    f"image {number} cannot be used ({error}); right would be a complete 8-bit or "
                    "16-bit image"
                ) from error
        case np.ndarray() if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            if 0 not in image.shape:
                return prepare(Image.fromarray(image), preprocessing)
        case np.ndarray() if image.dtype.kind == "f" and image.shape == (3, size, size):
            if not np.isfinite(image).all():
                raise InputError(
                    f"image {number} holds NaN or infinity; right would be finite numbers"
                )
            return image.astype(np.float32)
    raise InputError(f"image {number} is {_describe(image)}; right would be {_KINDS.format(size)}")


def _as_array(image: Any) -> Any:
    """Return a tensor as an array, and all else as it is; torch need not be installed."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(image, torch.Tensor):
        return image
    return (image.float() if image.is_floating_point() else image).detach().cpu().numpy()


def _describe(image: object) -> str:
    if isinstance(image, np.ndarray):
        return f"an array {image.dtype} {list(image.shape)}"
    return f"a {type(image).__name__}"
