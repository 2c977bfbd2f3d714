"""Labelled images by index, and how an image file becomes upright 8-bit RGB."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cbpnet.host.errors import InputError

__all__ = [
    "ArrayImages",
    "FileImages",
    "ImageFile",
    "ImageSource",
    "Labels",
    "decode_image",
    "upright_rgb",
]

Labels = npt.NDArray[np.int64]

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


class ImageSource(Protocol):
    """An indexable list of labelled images."""

    @property
    def labels(self) -> Labels:
        """The class of each image, [N]."""

    def __len__(self) -> int:
        """The number of images, N."""

    def image(self, index: int) -> Image.Image:
        """Image `index`: RGB, upright, 8 bits a channel."""

    def name(self, index: int) -> str:
        """What messages call image `index`."""


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

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index]).convert("RGB")

    def name(self, index: int) -> str:
        return f"{self.title} {index}"


class ImageFile(Protocol):
    """A file by its path, which messages show: a `pathlib.Path`, or one in an archive."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """Open it for reading."""


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

    def image(self, index: int) -> Image.Image:
        return decode_image(self.paths[index])

    def name(self, index: int) -> str:
        return str(self.paths[index])


def _check_labels(title: str, count: int, labels: Labels) -> None:
    if labels.dtype != np.int64 or labels.shape != (count,):
        raise InputError(
            f"{title}: labels are {labels.dtype} {list(labels.shape)}; "
            f"right would be int64 [{count}], one for each image"
        )


def decode_image(path: ImageFile) -> Image.Image:
    """Read an image file as upright 8-bit RGB.

    Transparency is laid on white; 16-bit grey (0 to 65535) is scaled to 0 to 255; of an animation
    the first frame is taken; the EXIF orientation is applied; a colour profile is ignored.

    Raises InputError, naming the file and the reason, for a file that is missing, truncated, no
    image, of a pixel type without a fixed white, or too large to be decoded safely (Pillow's
    limit against decompression bombs, 179 million pixels).
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of corrupt EXIF and odd metadata, which do not hurt the pixels.
            warnings.simplefilter("ignore")
            with path.open("rb") as file, Image.open(file) as image:
                return upright_rgb(image)
    except Exception as error:  # a decoder fed with garbage raises nearly anything
        raise InputError(
            f"{path}: cannot be read as an image ({_reason(error)}); "
            "right would be a complete JPEG, PNG, WebP, GIF, BMP or TIFF file"
        ) from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image as upright 8-bit RGB, as `decode_image` describes it.

    Raises ValueError for pixels without a fixed white, and whatever a decoder raises where the
    pixels are read only now.
    """
    return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except SyntaxError:  # the EXIF data are garbage, while the pixels have been read
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bits_to_eight(image).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _sixteen_bits_to_eight(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255 with rounding; Pillow's own conversion clips mode "I" at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"grey values from {values.min()} to {values.max()}, outside 16 bits' 0 to 65535"
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is in no image format that Pillow reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
