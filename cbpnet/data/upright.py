"""From an image of any pixel type and EXIF orientation to upright 8-bit RGB."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

__all__ = ["upright_rgb"]

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROWS_LAST_FIRST = (3, 4, 6, 7)
_ROWS_AS_COLUMNS = (5, 6, 7, 8)

_BAND = 2**18  # pixels; what is held beside the image and its result is a few times as many


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image as upright 8-bit RGB: itself, where it is that already.

    Transparency is laid on white; 16-bit grey (0 to 65535) is scaled to 0 to 255; the EXIF
    orientation is applied; a colour profile is ignored. Nothing as large as the image is held
    beside it and its result.

    Raises ValueError for pixels without a fixed white, and whatever a decoder raises where the
    pixels are read only now.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white")
    image.load()
    orientation = _orientation(image)
    turn = _TURNS.get(orientation)
    if turn is None and image.mode == "RGB" and not image.has_transparency_data:
        return image
    width, height = image.size
    turned = orientation in _ROWS_AS_COLUMNS
    upright = Image.new("RGB", (height, width) if turned else (width, height))
    for top, bottom in _bands(width, height):
        band = image.crop((0, top, width, bottom))
        if turn is not None:
            band = band.transpose(turn)
        place = height - bottom if orientation in _ROWS_LAST_FIRST else top
        upright.paste(_to_rgb(band), (place, 0) if turned else (0, place))
    return upright


def _orientation(image: Image.Image) -> int:
    try:
        orientation: int = image.getexif().get(_ORIENTATION_TAG, 1)
        return orientation
    except SyntaxError:  # the EXIF data are garbage, while the pixels have been read
        return 1


def _bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _BAND // width)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bits_to_eight(image).convert("RGB")
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
