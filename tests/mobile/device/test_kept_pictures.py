"""Kept pictures: which ones, in which form, and in a file that is not trusted."""

import dataclasses
import hashlib
import io
import json
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.pixels import normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.run.training import LessonImages
from mobile.device.kept_file import KeptRecord, kept_path, pack, read_kept, remove_others
from mobile.device.kept_pictures import NO_PICTURES, decode_picture

SIZE = 8
PREPROCESSING = Preprocessing(SIZE, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bilinear", 1.0)
NAMES = ("red", "grün")


def lesson(*labels, size=SIZE, seed=0):
    """Flat pictures, each of a shade of its own."""
    shades = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1) + 10 * seed
    pixels = np.broadcast_to(shades, (len(labels), size, size, 3)).copy()
    return LessonImages(pixels, np.array(labels))


def shades(kept):
    return [[int(decode_picture(file, SIZE)[0, 0, 0]) for file in few] for few in kept.classes]


def test_a_class_is_filled_up_from_pictures_spread_over_the_lesson():
    kept = NO_PICTURES.limited(3).with_lesson(lesson(0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1))
    assert shades(kept) == [[0, 1], [3, 6, 9]]
    kept = kept.with_lesson(lesson(0, 0, 0, 1, 3, seed=2))
    assert shades(kept) == [[0, 1, 21], [3, 6, 9], [], [24]]
    assert (kept.count, kept.bytes) == (7, sum(len(f) for few in kept.classes for f in few))
    assert shades(kept.limited(1)) == [[1], [6], [], [24]]
    assert kept.limited(1).limited(5).with_lesson(lesson(1, seed=4)).limit == 5
    assert kept.limited(0).count == 0
    assert NO_PICTURES.with_lesson(lesson(0)) == NO_PICTURES


def test_drawings_are_kept_bit_for_bit_and_photographs_as_jpeg_of_quality_95():
    y, x = np.mgrid[:96, :96]
    smooth = np.stack([128 + 100 * np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(3)], 2)
    grain = np.random.default_rng(0).normal(0, 6, smooth.shape)
    photograph = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    drawing = np.where((x // 12 + y // 12)[:, :, None] % 2, 255, 0).astype(np.uint8)
    pixels = np.stack([photograph, np.broadcast_to(drawing, photograph.shape)])
    images = LessonImages(pixels, np.array([0, 1]))
    kept = NO_PICTURES.limited(1).with_lesson(images)
    (jpeg,), (png,) = kept.classes
    expected = io.BytesIO()
    Image.fromarray(photograph).save(expected, "JPEG", quality=95)
    assert jpeg == expected.getvalue()
    assert png.startswith(b"\x89PNG")
    assert np.array_equal(decode_picture(png, 96), images.pixels[1])
    error = decode_picture(jpeg, 96).astype(float) - images.pixels[0]
    assert np.sqrt(np.square(error).mean()) < 6


def test_they_are_decoded_when_they_are_shown():
    kept = NO_PICTURES.limited(2).with_lesson(lesson(0, 2, 2))
    images = kept.images()
    assert images.labels.tolist() == [0, 2, 2]
    rows = np.array([2, 0])
    expected = normalise(lesson(0, 2, 2).pixels[rows], PREPROCESSING.mean, PREPROCESSING.std)
    assert np.array_equal(images.batch(rows, PREPROCESSING), expected)
    assert NO_PICTURES.images() is None


def kept_pictures():
    return NO_PICTURES.limited(2).with_lesson(lesson(0, 0, 1))


def test_the_file_is_a_zip_that_anyone_can_look_into(tmp_path):
    kept, state = kept_pictures(), tmp_path / "pets.safetensors"
    data, record = pack(kept, NAMES)
    assert pack(kept_pictures(), NAMES) == (data, record)
    assert record == KeptRecord(2, hashlib.sha256(data).hexdigest())
    path = kept_path(state, record.sha256)
    assert path == tmp_path / f"pets.safetensors.{record.sha256[:16]}.kept.zip"
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["index.json", "0/0.png", "0/1.png", "1/0.png"]
        assert json.loads(archive.read("index.json"))["class_names"] == list(NAMES)
        assert archive.read("1/0.png") == kept.classes[1][0]
    assert read_kept(state, record, 2, SIZE) == kept
    # A class without pictures is one with room for them.
    assert read_kept(state, record, 3, SIZE).classes == (*kept.classes, ())


def test_only_what_belongs_to_this_state_is_removed(tmp_path):
    state = tmp_path / "a.b"
    own = [kept_path(state, digit * 64) for digit in "0f"]
    others = [tmp_path / name for name in ("a.b", "axb" + own[0].name[3:], "a.b.kept.zip")]
    others += [kept_path(tmp_path / "c.a.b", "0" * 64), kept_path(tmp_path / "a", "0" * 64)]
    for path in own + others:
        path.write_bytes(b"x")
    remove_others(state, [own[0]])
    assert sorted(tmp_path.iterdir()) == sorted([own[0], *others])
    remove_others(state, [])
    assert sorted(tmp_path.iterdir()) == sorted(others)
    remove_others(tmp_path / "nowhere" / "a", [])


def picture(size=(SIZE, SIZE), mode="RGB", form="PNG"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, form)
    return file.getvalue()


def bomb():
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def archive_of(*entries, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return content.getvalue()


def overlapping():
    """One entry's bytes that another entry of the directory stands on too."""
    data = bytearray(archive_of(("0/0.png", picture()), ("0/1.png", picture())))
    first, second = (m.start() for m in re.finditer(b"PK\x01\x02", bytes(data)))
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(data)


def encrypted():
    data = bytearray(archive_of(("0/0.png", picture())))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


def many_bytes():
    """An entry that says it has four gigabytes."""
    data = bytearray(archive_of(("0/0.png", picture())))
    place = data.index(b"PK\x01\x02")
    data[place + 20 : place + 28] = b"\xf0\xff\xff\xff" * 2
    return bytes(data)


HOSTILE = {
    "no zip": (b"a letter", "File is not a zip file"),
    "cut short": (archive_of(("0/0.png", picture()))[:-30], "File is not a zip file"),
    "damaged": (
        archive_of(("0/0.png", picture())).replace(b"IDAT", b"IDAX"),
        "Bad CRC-32 for file '0/0.png'",
    ),
    "a way out": (archive_of(("../../x.png", picture())), "'../../x.png' is none of 2 pictures of"),
    "an absolute way": (archive_of(("/0/0.png", picture())), "'/0/0.png' is none of"),
    "a folder": (archive_of(("0/", b"")), "'0/' is none of"),
    "another class": (archive_of(("2/0.png", picture())), "'2/0.png' is none of 2 pictures of 2"),
    "one too many": (archive_of(("0/2.png", picture())), "'0/2.png' is none of"),
    "a number of its own": (archive_of(("0/01.png", picture())), "'0/01.png' is none of"),
    "another kind": (archive_of(("0/0.gif", picture(form="GIF"))), "'0/0.gif' is none of"),
    "twice": (
        archive_of(("0/0.png", picture()), ("0/0.jpg", picture(form="JPEG"))),
        "'0/0.jpg' stands there twice",
    ),
    "compressed": (
        archive_of(("0/0.png", picture()), compression=zipfile.ZIP_DEFLATED),
        "'0/0.png' is compressed or above 4,352 bytes",
    ),
    "a zip bomb": (
        archive_of(("0/0.png", b"\0" * 10**6), compression=zipfile.ZIP_DEFLATED),
        "its entries have more bytes than the file",
    ),
    "too large": (archive_of(("0/0.png", picture() + b"\0" * 5000)), "above 4,352 bytes"),
    "said to be huge": (many_bytes(), "its entries have more bytes than the file"),
    "overlapping": (overlapping(), "File name in directory '0/1.png' and header"),
    "encrypted": (encrypted(), "is encrypted, password required"),
    "a picture bomb": (archive_of(("0/0.png", bomb())), "picture 0 of class 0 is no PNG or JPEG"),
    "another size": (archive_of(("0/0.png", picture((9, 8)))), "is no PNG or JPEG of 8 x 8 RGB"),
    "grey": (archive_of(("1/1.png", picture(mode="L"))), "picture 1 of class 1 is no PNG or JPEG"),
    "a gif": (archive_of(("0/0.png", picture(form="GIF"))), "is no PNG or JPEG"),
    "no picture": (archive_of(("0/0.jpg", b"a letter")), "is no PNG or JPEG"),
    "half a picture": (archive_of(("0/0.png", picture()[:40])), "is no PNG or JPEG"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_what_it_should_be_is_one_sentence(tmp_path, name):
    data, reason = HOSTILE[name]
    state, record = tmp_path / "state", KeptRecord(2, hashlib.sha256(data).hexdigest())
    path = kept_path(state, record.sha256)
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_kept(state, record, 2, SIZE)
    message = str(raised.value)
    assert message.startswith(f"{path} cannot be used: ")
    assert reason in message
    assert message.endswith("or go on without pictures (--keep 0)")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == [path]  # nothing was unpacked


def test_any_other_bytes_are_not_the_state_s(tmp_path):
    data, record = pack(kept_pictures(), NAMES)
    state = tmp_path / "state"
    kept_path(state, record.sha256).write_bytes(data + b"\0")
    with pytest.raises(InputError, match=r"has not the pictures that .*state was saved with"):
        read_kept(state, record, 2, SIZE)


@pytest.mark.parametrize("change", [{"limit": 0}, {"sha256": "A" * 64}, {"sha256": "../../" * 9}])
def test_a_record_that_is_none_is_refused(change):
    with pytest.raises(InputError, match="right would be at least 1, and 64 hexadecimal digits"):
        dataclasses.replace(KeptRecord(1, "0" * 64), **change)
