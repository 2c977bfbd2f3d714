"""Labelled images by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from cbpnet.data.decoding import ImageFile, decode_image, open_picture
from cbpnet.host.errors import InputError

__all__ = ["ArrayImages", "FileImages", "ImageSource", "Labels"]

Labels = npt.NDArray[np.int64]


class ImageSource(Protocol):
    """An indexable list of labelled images."""

    @property
    def labels(self) -> Labels:
        """The class of each image, [N]."""

    def __len__(self) -> int:
        """The number of images, N."""

    def image(self, index: int, least: int | None = None) -> Image.Image:
        """Image `index`: RGB, upright, 8 bits a channel.

        With `least`, it may be a smaller one, whose shorter side has no less than `least` pixels.
        """

    def name(self, index: int) -> str:
        """What messages call image `index`."""

    def content(self, index: int) -> bytes:
        """What tells image `index` from any other: its file's bytes, or its pixels."""


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images held in memory: grey pixels [N, H, W] or RGB pixels [N, H, W, 3], 0 to 255.

    `title` is the word that messages put before an image's index.
    Raises InputError for pixels of another shape or type, or with another number of labels.
    """

    pixels: npt.NDArray[np.uint8]
    labels: Labels
    title: str = "image"

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or not (len(shape) == 3 or shape[3:] == (3,)):
            raise InputError(
                f"{self.title}: pixels are {self.pixels.dtype} {list(shape)}; "
                "right would be uint8 [N, H, W] or [N, H, W, 3]"
            )
        _check_labels(self.title, len(self.pixels), self.labels)

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int, least: int | None = None) -> Image.Image:
        return Image.fromarray(self.pixels[index]).convert("RGB")

    def name(self, index: int) -> str:
        return f"{self.title} {index}"

    def content(self, index: int) -> bytes:
        return bytes(self.pixels[index].tobytes())


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files, each decoded when it is asked for.

    Raises InputError for another number of labels than paths.
    """

    paths: Sequence[ImageFile]
    labels: Labels

    def __post_init__(self) -> None:
        _check_labels("image files", len(self.paths), self.labels)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int, least: int | None = None) -> Image.Image:
        return decode_image(self.paths[index], least)

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def content(self, index: int) -> bytes:
        path = self.paths[index]
        try:
            with open_picture(path) as file:
                return file.read()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _check_labels(title: str, count: int, labels: Labels) -> None:
    if labels.dtype != np.int64 or labels.shape != (count,):
        raise InputError(
            f"{title}: labels are {labels.dtype} {list(labels.shape)}; "
            f"right would be int64 [{count}], one for each image"
        )
