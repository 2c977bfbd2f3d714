"""How an image file becomes an image, whatever its name and size, in as little memory as it can."""

import importlib
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Protocol

from PIL import Image, ImageFile as PillowFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from cbpnet.data.upright import upright_rgb
from cbpnet.host.errors import InputError
from cbpnet.host.regular_file import open_regular

__all__ = ["ImageFile", "NotAnImageError", "decode_image", "is_image", "open_picture"]

# What is read, by Pillow's names. It knows more, among them programs, which it has Ghostscript run,
# and formats that nobody photographs in. Of a telephone's MPO the first picture is taken, a JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JPEG2000", "GIF", "BMP", "TIFF", "PPM")
# Bytes that a pixel takes at most while it is decoded, with the upright RGB that it becomes.
_BYTES_A_PIXEL = {"WEBP": 16, "AVIF": 16, "JPEG2000": 16}
_BYTES_OF_ANOTHER = 8
_MOST_DECODED = 2**29
_MOST_IN_FILE = 2**28

_HEIF_BRANDS = (b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")
_RIGHT = "right would be a complete JPEG, PNG, WebP, AVIF, HEIC, JPEG 2000, GIF, BMP or TIFF file"
_SMALLER = "right would be a smaller picture, or a JPEG that is not progressive"


class NotAnImageError(InputError):
    """A file's content is in no image format."""


class ImageFile(Protocol):
    """A file by its path, which messages show: a `pathlib.Path`, or one in an archive."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """Open it for reading."""


def decode_image(path: ImageFile, least: int | None = None) -> Image.Image:
    """Read an image file as upright 8-bit RGB, as `upright_rgb` makes it.

    The format is told by the content, not by the name; HEIC needs the package pillow-heif. Of an
    animation the first frame is taken.

    With `least`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, the smallest whose shorter side
    has `least` pixels: that takes the memory of the small picture. A progressive JPEG takes 3 bytes
    more for each pixel of the large one (6 where its colours are not subsampled).

    Raises `NotAnImageError` for content in no image format, and InputError for a file that is
    missing, truncated, of a pixel type without a fixed white, or for which there is not memory
    enough, and for a pipe, a device or a folder, none of which is waited for. So that no small file
    fills the memory, what takes more than 512 MiB to decode is refused before, as are 179 million
    pixels (Pillow's limit against decompression bombs) and files of more than 256 MiB. A pixel
    takes 16 bytes of a WebP, AVIF or JPEG 2000, 8 of all else; of a JPEG that is not progressive,
    the pixels that `least` leaves count.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of corrupt EXIF and odd metadata, which do not hurt the pixels.
            warnings.simplefilter("ignore")
            with open_picture(path) as file, _identify(path, file) as image:
                return _decode(path, image, least)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise NotAnImageError(
            f"{path}: cannot be read as an image (it is in no image format that is read here); "
            f"{_RIGHT}"
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: is too large to be decoded ({error}); {_SMALLER}") from error
    except MemoryError as error:  # before the size is known
        raise InputError(f"{path}: there is not memory enough to read it; {_SMALLER}") from error
    except Exception as error:  # a decoder fed with garbage raises nearly anything
        raise InputError(
            f"{path}: cannot be read as an image ({_reason(error)}); {_RIGHT}"
        ) from error


def is_image(path: ImageFile) -> bool:
    """Return whether a file's content is in an image format; nothing is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_picture(path) as file, _identify(path, file):
                return True
    except OSError:  # of Pillow, which knows no such format, or of the file
        return False
    except Exception:  # as in `decode_image`: it is one, if damaged or too large
        return True


def open_picture(path: ImageFile) -> IO[bytes]:
    """Open a file for reading, unless it is a pipe, a device or a folder; raises OSError."""
    return open_regular(path) if isinstance(path, Path) else path.open("rb")


def _identify(path: ImageFile, file: IO[bytes]) -> PillowFile.ImageFile:
    """Read the header alone."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > _MOST_IN_FILE:
        raise InputError(
            f"{path}: is a file of {size} bytes; right would be a picture of at most "
            f"{_MOST_IN_FILE}"
        )
    try:
        return _open(file)
    except Image.DecompressionBombError:
        # Pillow's limit is for all pixels in memory; of a JPEG, a reduced picture may be.
        file.seek(0)
        with suppress(SyntaxError):
            return JpegImageFile(file)
        raise
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
        _learn_heif(path)
        return _open_heif(file)


def _open(file: IO[bytes]) -> PillowFile.ImageFile:
    Image.init()
    return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])


def _is_heif(file: IO[bytes]) -> bool:
    file.seek(0)
    start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS


def _learn_heif(path: ImageFile) -> None:
    """Make Pillow read HEIC."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise InputError(
            f"{path}: is a HEIC picture, for which the package pillow-heif is missing: "
            "pip install 'cbpnet-mobile[heic]'"
        ) from error


def _open_heif(file: IO[bytes]) -> PillowFile.ImageFile:
    try:
        return _open(file)
    except UnidentifiedImageError as error:
        raise ValueError("its HEIC data are damaged") from error


def _decode(path: ImageFile, image: PillowFile.ImageFile, least: int | None) -> Image.Image:
    width, height = image.size
    if least is not None:
        image.draft(None, (least, least))
    held = width * height if image.info.get("progressive") else image.width * image.height
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and held > 2 * limit:
        raise Image.DecompressionBombError(f"{held} pixels exceed the limit of {2 * limit}")
    needed = _bytes_to_decode(image, width * height)
    if needed > _MOST_DECODED:
        raise InputError(
            f"{path}: has {width} x {height} pixels, which take {needed / 1e6:.0f} MB to decode; "
            f"right would be at most {_MOST_DECODED / 1e6:.0f} MB: a smaller picture, or a JPEG "
            "that is not progressive"
        )
    try:
        return upright_rgb(image)
    except (MemoryError, RuntimeError, OSError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise InputError(
                f"{path}: has {width} x {height} pixels, for which there is not memory enough; "
                f"{_SMALLER}"
            ) from error
        raise


def _bytes_to_decode(image: PillowFile.ImageFile, pixels: int) -> int:
    """Return about how much memory a picture takes at most, of so many pixels in its file."""
    if not isinstance(image, JpegImageFile):
        return pixels * _BYTES_A_PIXEL.get(image.format or "", _BYTES_OF_ANOTHER)
    reduced = _BYTES_OF_ANOTHER * image.width * image.height
    if not image.info.get("progressive"):
        return reduced
    # All coefficients are held, of 2 bytes each: one a pixel, and fewer where it is subsampled.
    sampling = [(across, down) for _, across, down, _ in image.layer]
    blocks = sum(across * down for across, down in sampling)
    most = max(across for across, _ in sampling) * max(down for _, down in sampling)
    return reduced + 2 * pixels * blocks // most


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
