"""Pictures of known classes that a device keeps, to see what an adaptation does to them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from PIL import Image

from cbpnet.data.pixels import normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.run.training import LessonImages

__all__ = ["NO_PICTURES", "KeptImages", "KeptPictures", "decode_picture"]

_JPEG_QUALITY = 95

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class KeptPictures:
    """Up to ``limit`` pictures of each class, as the network was shown them.

    ``classes`` has each class's pictures by its number: files, PNG or JPEG of quality 95, whichever
    is smaller, which is PNG for drawings and JPEG for photographs.
    """

    limit: int
    classes: tuple[tuple[bytes, ...], ...]

    @property
    def count(self) -> int:
        """The number of pictures."""
        return sum(map(len, self.classes))

    @property
    def bytes(self) -> int:
        """The size of the pictures in bytes."""
        return sum(map(len, chain.from_iterable(self.classes)))

    def limited(self, limit: int) -> "KeptPictures":
        """Return at most ``limit`` pictures of each class, with room for as many."""
        return KeptPictures(limit, tuple(tuple(_spread(few, limit)) for few in self.classes))

    def with_lesson(self, images: LessonImages) -> "KeptPictures":
        """Return what is kept after a lesson: each class is filled up from its images in it.

        They are spread over the lesson's images of the class in their order: neighbours are often
        taken in one moment.

        Raises:
            InputError: pictures are to be kept, and the images were given normalised.
        """
        if not self.limit:
            return self
        if images.pixels.dtype != np.uint8:
            raise InputError(
                f"keep is {self.limit} and an image is a normalised tensor; right would be a path, "
                "a Pillow image or a uint8 array, or to keep 0"
            )
        classes = list(self.classes)
        for label in np.unique(images.labels).tolist():
            classes += [()] * (label + 1 - len(classes))
            own = (images.labels == label).nonzero()[0].tolist()
            free = self.limit - len(classes[label])
            new = (_encode(images.pixels[row]) for row in _spread(own, free))
            classes[label] += tuple(new)
        return KeptPictures(self.limit, tuple(classes))

    def arranged(self, numbers: Sequence[Sequence[int]]) -> "KeptPictures":
        """Return the pictures of classes that are made of others, by the numbers of these."""
        old = dict(enumerate(self.classes))
        files = [tuple(file for number in few for file in old.get(number, ())) for few in numbers]
        return KeptPictures(self.limit, tuple(own[: self.limit] for own in files))

    def images(self) -> "KeptImages | None":
        """Return the pictures for a lesson, None where there are none."""
        return KeptImages(self) if self.count else None


NO_PICTURES = KeptPictures(0, ())


class KeptImages:
    """Kept pictures and their ``labels`` [N], each decoded when it is shown."""

    def __init__(self, kept: KeptPictures) -> None:
        self._files = list(chain.from_iterable(kept.classes))
        counts = [len(few) for few in kept.classes]
        self.labels = np.repeat(np.arange(len(counts)), counts)

    def batch(self, rows: Array, preprocessing: Preprocessing) -> Array:
        """Return some pictures normalised, fp32 [B, 3, S, S]."""
        size = preprocessing.image_size
        pixels = np.stack([decode_picture(self._files[row], size) for row in rows.tolist()])
        return normalise(pixels, preprocessing.mean, preprocessing.std)


def decode_picture(file: bytes, size: int) -> Array:
    """Return a kept picture's pixels, uint8 [S, S, 3].

    Raises:
        ValueError: the file is another one.
    """
    right = f"no PNG or JPEG of {size} x {size} RGB pixels"
    try:
        with Image.open(io.BytesIO(file), formats=["PNG", "JPEG"]) as image:
            if image.size == (size, size) and image.mode == "RGB":
                return np.array(image)
    except Exception as error:  # a decoder fed with garbage raises nearly anything
        raise ValueError(f"{right} ({error})") from error
    raise ValueError(right)


def _encode(pixels: Array) -> bytes:
    image = Image.fromarray(pixels)
    files = []
    for options in ({"format": "PNG"}, {"format": "JPEG", "quality": _JPEG_QUALITY}):
        file = io.BytesIO()
        image.save(file, **options)
        files.append(file.getvalue())
    return min(files, key=len)


def _spread(items: Sequence[_Item], most: int) -> Sequence[_Item]:
    """Return at most so many of some items, evenly spread."""
    if len(items) <= most:
        return items
    return [items[(2 * place + 1) * len(items) // (2 * most)] for place in range(most)]
