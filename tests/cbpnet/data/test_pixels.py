"""The evaluation transform against timm's own, and against Pillow and numpy by hand."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cbpnet.data.images import ArrayImages, FileImages
from cbpnet.data.pixels import load_batch, load_image, normalise, prepare
from cbpnet.host.errors import InputError

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.2, 0.25)


@dataclass(frozen=True)
class Settings:
    image_size: int = 64
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    interpolation: str = "bicubic"
    crop_pct: float = 0.9


def _noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(32, 32), (100, 67), (67, 101), (300, 90), (64, 64), (1, 8)])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_equals_the_transform_of_timm(
    size: tuple[int, int], crop_pct: float, interpolation: str
) -> None:
    settings = Settings(crop_pct=crop_pct, interpolation=interpolation)
    compat = pytest.importorskip("cbpnet.backbone.torchvision_compat")  # needs torch
    transform = compat.import_timm().data.create_transform(
        input_size=(3, 64, 64), interpolation=interpolation, crop_pct=crop_pct, mean=MEAN, std=STD
    )
    image = _noise(*size)
    ours = normalise(prepare(image, settings)[None], MEAN, STD)[0]
    np.testing.assert_array_equal(ours, transform(image), strict=True)


def test_by_hand_a_wide_image() -> None:
    # 0.9: the shorter side becomes floor(71.1) = 71, the longer 71 * 100 / 50 = 142.
    image = _noise(100, 50)
    by_hand = image.resize((142, 71), Image.Resampling.BICUBIC).crop((39, 4, 103, 68))
    prepared = prepare(image, Settings())
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, np.asarray(by_hand))


@pytest.mark.parametrize("size", [(60_000, 1), (2, 60_000)])
def test_a_very_long_strip_is_seen_in_its_middle_and_never_enlarged_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarged = []
    resize = Image.Image.resize

    def watched(image: Image.Image, target: tuple[int, int], *options: object) -> Image.Image:
        enlarged.append(target)
        return resize(image, target, *options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    strip = Image.new("RGB", size, "red")
    middle = (29_900, 0, 30_100, 1) if size[1] == 1 else (0, 29_900, 2, 30_100)
    strip.paste("lime", middle)
    prepared = prepare(strip, Settings())
    np.testing.assert_array_equal(prepared, np.full((64, 64, 3), (0, 255, 0)))
    assert [max(target) for target in enlarged] == [71 * 8]


@pytest.mark.parametrize(
    ("mode", "change", "value"),
    [
        ("L", {}, "'L'"),
        ("RGB", {"interpolation": "bicubical"}, "'bicubical'.*bicubic, bilinear"),
        ("RGB", {"crop_pct": 1.1}, "1.1"),
        ("RGB", {"crop_pct": 0.0}, "0.0"),
    ],
)
def test_bad_input_is_named(mode: str, change: dict[str, object], value: str) -> None:
    with pytest.raises(InputError, match=value):
        prepare(Image.new(mode, (70, 70)), replace(Settings(), **change))


def test_a_batch_holds_the_asked_for_images_in_their_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), np.uint8)
    source = ArrayImages(pixels, np.zeros(4, np.int64))
    batch = load_batch(source, np.array([2, 0, 2]), Settings())
    assert batch.shape == (3, 64, 64, 3)
    for row, index in zip(batch, [2, 0, 2], strict=True):
        np.testing.assert_array_equal(row, prepare(Image.fromarray(pixels[index]), Settings()))


def _photograph(width: int, height: int) -> Image.Image:
    """Like a photograph: amplitudes fall with the frequency, and there are edges."""
    random = np.random.default_rng(0)
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.hypot(down, right)
    frequency[0, 0] = 1
    phases = random.normal(size=(2, *frequency.shape))
    texture = np.fft.irfft2((phases[0] + 1j * phases[1]) / frequency, (height, width))
    grey = 128 + 30 * texture / texture.std()
    grey[height // 4 : height // 2, width // 3 : width // 2] += 80
    channels = [grey, grey[::-1], grey[:, ::-1]]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_prepared_as_its_full_decode_is_nearly(
    tmp_path: Path, orientation: int
) -> None:
    path = tmp_path / "large.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    _photograph(2400, 1800).save(path, quality=90, exif=exif)  # decoded at 1/8: 225 = 3.2 * 71
    with Image.open(path) as stored:
        whole = prepare(ImageOps.exif_transpose(stored), Settings())
    reduced = load_image(path, Settings())
    difference = np.abs(reduced.astype(int) - whole)
    assert 0 < difference.mean() < 0.5
    assert difference.max() <= 6
    batch = load_batch(FileImages([path], np.zeros(1, np.int64)), [0], Settings())
    np.testing.assert_array_equal(batch[0], reduced)


def test_a_jpeg_that_is_not_large_is_prepared_as_its_full_decode_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    _photograph(600, 2 * 3 * 71 - 1).save(path)
    with Image.open(path) as stored:
        whole = prepare(stored, Settings())
    np.testing.assert_array_equal(load_image(path, Settings()), whole)


def test_normalise_equals_numpy() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), np.uint8)
    by_hand = ((pixels / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2)
    result = normalise(pixels, MEAN, STD)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, by_hand, atol=1e-6)
