"""Every kind of image file, written with Pillow, against pixels worked out by hand."""

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.decoding import NotAnImageError, decode_image, is_image
from cbpnet.host.errors import InputError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
ALPHA = np.array([[0, 255, 128, 51]] * 3, np.uint8)


def _decoded(path: Path) -> np.ndarray:
    image = decode_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def _grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=-1)


def _on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return colour * opacity + 255 * (1 - opacity)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_rgb_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path, lossless=True)
    np.testing.assert_array_equal(_decoded(path), RGB)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    np.testing.assert_array_equal(_decoded(path), _grey_as_rgb(GREY))


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(GREY >= 100).save(path)
    np.testing.assert_array_equal(_decoded(path), _grey_as_rgb(np.where(GREY >= 100, 255, 0)))


def test_palette_is_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(path)
    palette = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    np.testing.assert_array_equal(_decoded(path), palette[[[0, 1], [2, 1]]])


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_transparency_is_laid_on_white(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.dstack([RGB, ALPHA])).save(path, lossless=True, exact=True)
    np.testing.assert_allclose(_decoded(path), _on_white(RGB, ALPHA), atol=1)


def test_transparent_grey_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([GREY, ALPHA]), mode=None).save(path)
    np.testing.assert_allclose(_decoded(path), _on_white(_grey_as_rgb(GREY), ALPHA), atol=1)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_becomes_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([100, 100, 100, 50, 50, 50])
    colour = {"L": 100, "RGB": (100, 100, 100), "P": 0}[mode]
    image.convert(mode).save(path, transparency=colour)
    np.testing.assert_array_equal(_decoded(path), [[[255] * 3, [50] * 3]])


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 255, 256], [1000, 30000, 32768, 65000, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(_decoded(path), _grey_as_rgb(np.rint(values / 257)))


def test_big_endian_sixteen_bit_grey_is_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 1000, 65535]], ">u2")
    path = tmp_path / "a.tif"
    Image.frombytes("I;16B", (3, 1), values.tobytes()).save(path)
    np.testing.assert_array_equal(_decoded(path), _grey_as_rgb(np.rint(values / 257)))


@pytest.mark.parametrize("value", [-1, 65536])
def test_grey_outside_sixteen_bits_is_refused(tmp_path: Path, value: int) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[7, value]], np.int32)).save(path)
    with pytest.raises(InputError, match=rf"a\.tif: .*{value}"):
        decode_image(path)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((2, 2), np.float32)).save(path)
    with pytest.raises(InputError, match=r"a\.tif: .*floating-point"):
        decode_image(path)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=100)
    np.testing.assert_allclose(_decoded(path), np.full((16, 16, 3), (255, 0, 0)), atol=3)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(path) as image:
        assert image.n_frames == 3
    np.testing.assert_array_equal(_decoded(path), np.full((3, 4, 3), (255, 0, 0)))


UPRIGHT_FROM_STORED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT_FROM_STORED)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(path, exif=exif, lossless=True)
    np.testing.assert_array_equal(_decoded(path), UPRIGHT_FROM_STORED[orientation](RGB))


def test_sixteen_bit_grey_is_turned_upright_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path, exif=exif)
    np.testing.assert_array_equal(_decoded(path), _grey_as_rgb(np.rot90(GREY, -1)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("damaged", [b"garbage", b"II*\0\x08\0\0\0\x05\0\x12\x01"])
def test_damaged_exif_does_not_hurt(tmp_path: Path, suffix: str, damaged: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (16, 8), "red").save(path, exif=b"Exif\0\0" + damaged)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_image(path).size == (16, 8)
    assert caught == []


def _noise(path: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tif"])
def test_a_truncated_image_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"half.{suffix}"
    content = _noise(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"half\.{suffix}: cannot be read as an image \(.+\); "):
        decode_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"text\.jpg: cannot be read as an image"):
        decode_image(path)


def test_a_missing_file_and_a_folder_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg: .*No such file"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="directory"):
        decode_image(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (100, 100)).save(path)
    assert decode_image(path).size == (100, 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    monkeypatch.setattr(Image.Image, "load", _not_to_be_called)
    with pytest.raises(InputError, match=r"bomb\.png: is too large .*exceeds limit.*; right would"):
        decode_image(path, least=1)


def _not_to_be_called(*_: object) -> None:
    raise AssertionError


def test_of_a_jpeg_the_pixels_that_are_left_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    path, progressive = tmp_path / "a.jpg", tmp_path / "progressive.jpg"
    Image.new("RGB", (200, 100)).save(path)
    Image.new("RGB", (200, 100)).save(progressive, progressive=True)
    assert decode_image(path, least=50).size == (100, 50)
    for large, least in ((path, None), (path, 51), (progressive, 50)):
        with pytest.raises(InputError, match=rf"{large.name}: is too large .*20000 pixels .* 8000"):
            decode_image(large, least)


@pytest.mark.parametrize(
    ("least", "size"),
    [
        (None, (800, 640)),
        (321, (800, 640)),
        (320, (400, 320)),
        (160, (200, 160)),
        (80, (100, 80)),
        (1, (100, 80)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_decoded_at_the_least_scale_that_is_enough(
    tmp_path: Path, least: int | None, size: tuple[int, int], orientation: int
) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (800, 640), "teal").save(path, exif=exif)
    assert decode_image(path, least).size == (size if orientation == 1 else size[::-1])


def test_another_format_stays_as_large_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (800, 640)).save(path)
    assert decode_image(path, least=1).size == (800, 640)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("Pixel allocation: Out of memory")])
def test_want_of_memory_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)

    def load(*_: object) -> None:
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(
        InputError, match=r"a\.png: has 30 x 20 pixels, for which there is not memory enough; right"
    ):
        decode_image(path)


def test_want_of_memory_before_the_size_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)

    def open_image(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", open_image)
    with pytest.raises(InputError, match=r"a\.png: there is not memory enough to read it; right"):
        decode_image(path)


# In megabytes: 48 megapixels reduced to an eighth take 3, twice while they are turned, and whole
# 192; the rest is the decoder's.
_PEAK = """
import sys
from pathlib import Path
from PIL import Image
from cbpnet.data.decoding import decode_image
from cbpnet.host.memory import peak_rss_mb, resident_mb
path = Path(sys.argv[1])
small = Path(sys.argv[2])
decode_image(small, least=744)
before = resident_mb()
size = decode_image(path, least=744).size
print(*size, peak_rss_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one process")
@pytest.mark.parametrize(
    ("name", "size", "most"), [("a.jpg", (750, 1000), 40), ("a.png", (8000, 6000), 230)]
)
def test_how_much_memory_48_megapixels_take(
    tmp_path: Path, name: str, size: tuple[int, int], most: float
) -> None:
    path, small = tmp_path / name, tmp_path / f"small_{name}"
    exif = Image.Exif()
    exif[0x0112] = 6 if name == "a.jpg" else 1
    Image.linear_gradient("L").convert("RGB").save(small)
    Image.new("RGB", (8000, 6000), "teal").save(path, exif=exif, compress_level=1)
    code = [sys.executable, "-c", _PEAK, path, small]
    result = subprocess.run(code, check=True, capture_output=True, text=True)
    *found, peak = map(float, result.stdout.split())
    assert tuple(found) == size
    assert peak < most


HEIC = b"\0\0\0\x18ftypheic"


def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo"
    path.write_bytes(HEIC)
    assert is_image(path)
    with pytest.raises(InputError) as caught:
        decode_image(path)
    assert str(caught.value) == (
        f"{path}: is a HEIC picture, for which the package pillow-heif is missing: "
        "pip install 'cbpnet-mobile[heic]'"
    )


@pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None, reason="pillow-heif is not installed"
)
def test_heic_is_read_with_its_package(tmp_path: Path) -> None:
    import pillow_heif

    path = tmp_path / "photo"
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 100, 50))).save(path)
    np.testing.assert_allclose(_decoded(path), np.full((48, 64, 3), (200, 100, 50)), atol=4)
    path.write_bytes(HEIC)
    with pytest.raises(InputError, match=r"photo: cannot be read as an image \(its HEIC data are"):
        decode_image(path)


@pytest.mark.parametrize("format_name", ["AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "WEBP"])
def test_an_image_is_told_by_its_content(tmp_path: Path, format_name: str) -> None:
    path = tmp_path / "letter.txt"
    Image.new("RGB", (64, 48), (200, 100, 50)).save(path, format_name)
    assert is_image(path)
    np.testing.assert_allclose(_decoded(path), np.full((48, 64, 3), (200, 100, 50)), atol=4)


def test_what_is_no_image_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    text, program, damaged = (tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg"))
    text.write_text("a letter")
    Image.new("RGB", (16, 16)).save(program, "EPS")
    damaged.write_bytes(_noise(tmp_path / "whole.jpg")[:1000])
    for path in (text, program):
        assert not is_image(path)
        with pytest.raises(NotAnImageError, match=r"it is in no image format that is read here"):
            decode_image(path)
    assert is_image(damaged)
    with pytest.raises(InputError) as caught:
        decode_image(damaged)
    assert not isinstance(caught.value, NotAnImageError)
