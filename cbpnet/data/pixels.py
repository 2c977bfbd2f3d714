"""From a photograph to a backbone's input, as the backbone's own evaluation transform does it."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from cbpnet.data.decoding import ImageFile, decode_image
from cbpnet.data.images import ImageSource
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError

__all__ = ["least_side", "load_batch", "load_image", "normalise", "prepare"]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_LONGEST_RATIO = 8
# How many times the size it is resized to a JPEG stays at least: on photographs the pixels then are
# 0.1 to 0.5 of 255 from those of the whole picture in the mean; with 1.5 they were up to 1.
_MARGIN = 3


def prepare(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Resize the shorter side to floor(S / crop_pct), antialiased, and crop the centre S x S.

    Sizes and offsets are rounded as timm's evaluation transform rounds them, so that the pixels
    equal its. Returns uint8 [S, S, 3], S = `preprocessing.image_size`.
    Raises InputError for an image that is not RGB, an unknown interpolation, or a crop_pct
    outside (0, 1].
    """
    size, shorter = preprocessing.image_size, _shorter_side(preprocessing)
    if image.mode != "RGB":
        raise InputError(f"image mode is {image.mode!r}; right would be 'RGB'")
    if preprocessing.interpolation not in _FILTERS:
        raise InputError(
            f"interpolation {preprocessing.interpolation!r} is unknown; "
            f"right would be one of {', '.join(_FILTERS)}"
        )

    image = _trim_strip(image)
    scale = min(image.size)
    width, height = (int(shorter * side / scale) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), _FILTERS[preprocessing.interpolation])
    return np.array(resized.crop((left, top, left + size, top + size)))


def _shorter_side(preprocessing: Preprocessing) -> int:
    """What the shorter side is resized to."""
    crop_pct = preprocessing.crop_pct
    if not 0 < crop_pct <= 1:
        raise InputError(f"crop_pct is {crop_pct}; right would be above 0 and at most 1")
    return math.floor(preprocessing.image_size / crop_pct)


def least_side(preprocessing: Preprocessing) -> int:
    """Return how long the shorter side of a JPEG stays that `prepare` is given: `decode_image`."""
    return _MARGIN * _shorter_side(preprocessing)


def _trim_strip(image: Image.Image) -> Image.Image:
    """Cut a very long strip to its middle, which alone is seen: resized whole it fills memory."""
    limit = _LONGEST_RATIO * min(image.size)
    if max(image.size) <= limit:
        return image
    width, height = (min(side, limit) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def load_image(path: ImageFile, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode an image file, and prepare it: uint8 [S, S, 3].

    A large JPEG is decoded at a fraction of its size, still three times as large as it is resized
    to. Raises InputError as `decode_image` and `prepare` do.
    """
    return prepare(decode_image(path, least_side(preprocessing)), preprocessing)


def load_batch(
    source: ImageSource, indices: Iterable[int], preprocessing: Preprocessing
) -> npt.NDArray[np.uint8]:
    """Decode and prepare the images `indices` of a source: uint8 [B, S, S, 3]."""
    least = least_side(preprocessing)
    images = (source.image(int(index), least) for index in indices)
    return np.stack([prepare(image, preprocessing) for image in images])


def normalise(
    images: Array, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Scale uint8 images [B, S, S, 3] to 0..1, less `mean`, over `std`: fp32 [B, 3, S, S].

    The result is contiguous: some delegates read a channels-last array as garbage.
    """
    found = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    found /= 255
    found -= np.array(mean, np.float32).reshape(3, 1, 1)
    found /= np.array(std, np.float32).reshape(3, 1, 1)
    return found
