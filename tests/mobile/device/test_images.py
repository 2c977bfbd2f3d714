"""Images as programs hold them become what the backbone takes, or are refused by name."""

import re

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.pixels import normalise, prepare
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from mobile.device.images import as_list, normalised, prepare_images

PREPROCESSING = Preprocessing(8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bilinear", 0.9)


@pytest.fixture
def picture():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (12, 10, 3)).astype(np.uint8)


def test_a_picture_in_any_form_is_the_same(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "x.png")
    path = tmp_path / "x.png"
    found = prepare_images([path, str(path), Image.open(path), picture], PREPROCESSING)
    expected = prepare(Image.fromarray(picture), PREPROCESSING)
    assert found.dtype == np.uint8
    assert all(np.array_equal(image, expected) for image in found)
    mean, std = PREPROCESSING.mean, PREPROCESSING.std
    assert np.array_equal(normalised(found, PREPROCESSING), normalise(found, mean, std))


def test_a_pillow_image_is_turned_upright_and_laid_on_white(picture):
    image = Image.fromarray(picture)
    turned = image.rotate(90, expand=True)
    turned.getexif()[0x0112] = 6  # turned to the left: to be turned to the right
    clear = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    found = prepare_images([turned, clear], PREPROCESSING)
    assert np.array_equal(found[0], prepare(image, PREPROCESSING))
    assert (found[1] == 255).all()


@pytest.fixture
def numbers():
    return np.random.default_rng(1).standard_normal((3, 8, 8), np.float32)


def test_numbers_are_taken_to_be_normalised_and_then_all_are(picture, numbers):
    found = prepare_images([picture, numbers, numbers.astype(np.float64)], PREPROCESSING)
    assert found.dtype == np.float32
    pixels = prepare(Image.fromarray(picture), PREPROCESSING)[None]
    assert np.array_equal(found[0], normalised(pixels, PREPROCESSING)[0])
    assert np.array_equal(found[1], numbers)
    assert np.array_equal(found[2], numbers)
    assert normalised(found, PREPROCESSING) is found


def test_tensors_are_as_good_as_arrays(numbers):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(numbers)
    given = [tensor, tensor.double(), tensor.clone().requires_grad_(), tensor.bfloat16()]
    found = prepare_images(given, PREPROCESSING)
    assert found.dtype == np.float32
    assert all(np.array_equal(image, numbers) for image in found[:3])
    assert np.array_equal(found[3], tensor.bfloat16().float().numpy())
    assert [len(as_list(images)) for images in (tensor, torch.zeros(5, 3, 8, 8))] == [1, 5]
    with pytest.raises(InputError, match=r"^image 1 is an array int64 \[3, 8, 8\]; "):
        prepare_images([tensor.long()], PREPROCESSING)


@pytest.mark.parametrize(
    ("images", "count"),
    [
        ("a/path.png", 1),
        (Image.new("L", (3, 3)), 1),
        (np.zeros((4, 4, 3), np.uint8), 1),
        (np.zeros((5, 4, 4, 3), np.uint8), 5),
        (np.zeros((3, 8, 8), np.float32), 1),
        (np.zeros((5, 3, 8, 8), np.float32), 5),
        (["a.png", "b.png"], 2),
        ((name for name in ("a.png", "b.png", "c.png")), 3),
        ([], 0),
    ],
)
def test_one_image_a_batch_or_several(images, count):
    assert len(as_list(images)) == count


KINDS = (
    "right would be a path, a Pillow image, a uint8 array [H, W, 3], or a normalised fp32 array or "
    "tensor"
)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((3, 8, 8), np.nan), "holds NaN or infinity; right would be finite numbers"),
        (np.full((3, 8, 8), np.inf), "holds NaN or infinity"),
        (np.zeros((3, 9, 8), np.float32), f"is an array float32 [3, 9, 8]; {KINDS} [3, 8, 8]"),
        (np.zeros((1, 8, 8)), "is an array float64 [1, 8, 8]"),
        (np.zeros((3, 8, 8), np.int64), "is an array int64 [3, 8, 8]"),
        (np.zeros((8, 8, 3), np.float32), f"is an array float32 [8, 8, 3]; {KINDS}"),
        (np.zeros((8, 8), np.uint8), "is an array uint8 [8, 8]"),
        (np.zeros((8, 0, 3), np.uint8), "is an array uint8 [8, 0, 3]"),
        (Image.new("F", (8, 8)), "cannot be used (floating-point pixels have no fixed white)"),
        (b"bytes", "is a bytes"),
        (None, "is a NoneType"),
    ],
)
def test_another_kind_is_refused_with_its_number(picture, image, reason):
    with pytest.raises(InputError, match=rf"^image 8 {re.escape(reason)}[^\n]*$"):
        prepare_images([picture, image], PREPROCESSING, first=7)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "x.jpg").write_text("a letter")
    with pytest.raises(InputError, match=r"x.jpg: cannot be read as an image"):
        prepare_images([tmp_path / "x.jpg"], PREPROCESSING)


def test_want_of_memory_is_called_that(monkeypatch):
    def load(_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(InputError, match=r"^image 1 has 30 x 20 pixels, .* not memory enough; "):
        prepare_images([Image.new("L", (30, 20))], PREPROCESSING)
