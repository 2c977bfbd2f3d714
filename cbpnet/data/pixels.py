"""From a photograph to a backbone's input, as the backbone's own evaluation transform does it."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from cbpnet.data.images import ImageSource
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError

__all__ = ["load_batch", "normalise", "prepare"]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_LONGEST_RATIO = 8


def prepare(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Resize the shorter side to floor(S / crop_pct), antialiased, and crop the centre S x S.

    Sizes and offsets are rounded as timm's evaluation transform rounds them, so that the pixels
    equal its. Returns uint8 [S, S, 3], S = `preprocessing.image_size`.
    Raises InputError for an image that is not RGB, an unknown interpolation, or a crop_pct
    outside (0, 1].
    """
    size, crop_pct = preprocessing.image_size, preprocessing.crop_pct
    if image.mode != "RGB":
        raise InputError(f"image mode is {image.mode!r}; right would be 'RGB'")
    if preprocessing.interpolation not in _FILTERS:
        raise InputError(
            f"interpolation {preprocessing.interpolation!r} is unknown; "
            f"right would be one of {', '.join(_FILTERS)}"
        )
    if not 0 < crop_pct <= 1:
        raise InputError(f"crop_pct is {crop_pct}; right would be above 0 and at most 1")

    image = _trim_strip(image)
    shorter = math.floor(size / crop_pct)
    scale = min(image.size)
    width, height = (int(shorter * side / scale) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), _FILTERS[preprocessing.interpolation])
    return np.array(resized.crop((left, top, left + size, top + size)))


def _trim_strip(image: Image.Image) -> Image.Image:
    """Cut a very long strip to its middle, which alone is seen: resized whole it fills memory."""
    limit = _LONGEST_RATIO * min(image.size)
    if max(image.size) <= limit:
        return image
    width, height = (min(side, limit) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def load_batch(
    source: ImageSource, indices: Iterable[int], preprocessing: Preprocessing
) -> npt.NDArray[np.uint8]:
    """Decode and prepare the images `indices` of a source: uint8 [B, S, S, 3]."""
    return np.stack([prepare(source.image(int(index)), preprocessing) for index in indices])


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
