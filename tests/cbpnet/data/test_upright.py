"""Pixels taken band by band, against Pillow's own turning and conversion of the whole image."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from cbpnet.data.upright import upright_rgb

SIZE = (700, 900)  # several bands, the last of them not full
NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 4), np.uint8)


def _image(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(NOISE).convert(mode)


def _as_it_is(image: Image.Image) -> Image.Image:
    """The whole image converted at once."""
    if image.mode in ("RGBA", "P"):  # the palette has transparent colours too
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode == "I;16":
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_mode_and_orientation(mode: str, orientation: int) -> None:
    image = _image(mode)
    image.getexif()[0x0112] = orientation
    turned = _image(mode)
    turned.getexif()[0x0112] = orientation
    expected = _as_it_is(ImageOps.exif_transpose(turned))
    np.testing.assert_array_equal(np.asarray(upright_rgb(image)), np.asarray(expected))


def test_upright_rgb_is_not_copied() -> None:
    image = Image.new("RGB", (4, 3))
    assert upright_rgb(image) is image


def test_an_unknown_orientation_is_upright() -> None:
    image = Image.new("RGB", (4, 3))
    image.getexif()[0x0112] = 9
    assert upright_rgb(image).size == (4, 3)
