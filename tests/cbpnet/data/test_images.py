"""Every kind of image file, written with Pillow, against pixels worked out by hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.images import ArrayImages, FileImages, decode_image
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
    with pytest.raises(InputError, match=r"bomb\.png: .*exceeds limit"):
        decode_image(path)


def test_array_images_grey_and_rgb() -> None:
    labels = np.array([3], np.int64)
    grey, colour = ArrayImages(GREY[None], labels), ArrayImages(RGB[None], labels, "photograph")
    np.testing.assert_array_equal(np.asarray(grey.image(0)), _grey_as_rgb(GREY))
    np.testing.assert_array_equal(np.asarray(colour.image(0)), RGB)
    assert (len(colour), colour.name(0), colour.labels.tolist()) == (1, "photograph 0", [3])


@pytest.mark.parametrize(
    ("pixels", "labels", "value"),
    [
        (np.zeros((2, 3, 3), np.float32), np.zeros(2, np.int64), "float32"),
        (np.zeros((2, 3, 3, 4), np.uint8), np.zeros(2, np.int64), r"\[2, 3, 3, 4\]"),
        (np.zeros((3, 3), np.uint8), np.zeros(3, np.int64), r"\[3, 3\]"),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(3, np.int64), r"\[3\]"),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int32), "int32"),
    ],
)
def test_array_images_refuse_other_arrays(
    pixels: np.ndarray, labels: np.ndarray, value: str
) -> None:
    with pytest.raises(InputError, match=value):
        ArrayImages(pixels, labels)


def test_file_images_decode_on_demand(tmp_path: Path) -> None:
    present, absent = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(RGB).save(present)
    source = FileImages([absent, present], np.array([0, 4], np.int64))
    np.testing.assert_array_equal(np.asarray(source.image(1)), RGB)
    assert (len(source), source.name(1), source.labels.tolist()) == (2, str(present), [0, 4])
    with pytest.raises(InputError, match=r"b\.png"):
        source.image(0)
    with pytest.raises(InputError, match=r"\[2\]"):
        FileImages([absent], np.array([0, 4], np.int64))
