"""How an image file becomes an image, whatever its name and size, in as little memory as it can."""

import importlib
import warnings
from contextlib import suppress
from typing import IO, Literal, Protocol

from PIL import Image, ImageFile as PillowFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from cbpnet.data.upright import upright_rgb
from cbpnet.host.errors import InputError

__all__ = ["ImageFile", "NotAnImageError", "decode_image", "is_image"]

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
    enough. So that no small file fills it, more than Pillow's limit against decompression bombs,
    179 million pixels, are refused before they are decoded; for a JPEG that is not progressive, the
    pixels that `least` leaves count.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of corrupt EXIF and odd metadata, which do not hurt the pixels.
            warnings.simplefilter("ignore")
            with path.open("rb") as file, _identify(path, file) as image:
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
            with path.open("rb") as file, _identify(path, file):
                return True
    except OSError:  # of Pillow, which knows no such format, or of the file
        return False
    except Exception:  # as in `decode_image`: it is one, if damaged or too large
        return True


def _identify(path: ImageFile, file: IO[bytes]) -> PillowFile.ImageFile:
    """Read the header alone."""
    try:
        image = Image.open(file)
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
        image = _open_heif(file)
    if image.format == "EPS":
        raise UnidentifiedImageError("EPS is a program, which Pillow has Ghostscript run")
    return image


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
        return Image.open(file)
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
    try:
        return upright_rgb(image)
    except (MemoryError, RuntimeError, OSError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise InputError(
                f"{path}: has {width} x {height} pixels, for which there is not memory enough; "
                f"{_SMALLER}"
            ) from error
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
