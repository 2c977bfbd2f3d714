"""Images by index, from memory and from files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.images import ArrayImages, FileImages
from cbpnet.host.errors import InputError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def test_array_images_grey_and_rgb() -> None:
    labels = np.array([3], np.int64)
    grey, colour = ArrayImages(GREY[None], labels), ArrayImages(RGB[None], labels, "photograph")
    np.testing.assert_array_equal(np.asarray(grey.image(0)), np.stack([GREY] * 3, axis=-1))
    np.testing.assert_array_equal(np.asarray(colour.image(0)), RGB)
    assert (len(colour), colour.name(0), colour.labels.tolist()) == (1, "photograph 0", [3])
    assert colour.content(0) == RGB.tobytes()


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
    assert source.content(1) == present.read_bytes()
    for read in (source.image, source.content):
        with pytest.raises(InputError, match=r"b\.png"):
            read(0)
    with pytest.raises(InputError, match=r"\[2\]"):
        FileImages([absent], np.array([0, 4], np.int64))
