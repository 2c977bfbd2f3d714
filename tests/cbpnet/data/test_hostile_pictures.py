"""What is called a picture and harms: pipes, programs, and small files of large pictures."""

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cbpnet.data import decoding
from cbpnet.data.decoding import NotAnImageError, decode_image, is_image
from cbpnet.data.folder import read_class_folders
from cbpnet.host.errors import InputError


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "it is a named pipe and no file"),
        (make_socket, "it is a socket and no file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device and no file"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], what: str
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = Path("x.jpg")
    make(path)
    with pytest.raises(InputError, match=rf"x\.jpg: cannot be read as an image \({what}\)"):
        decode_image(path)
    assert not is_image(path)


def test_a_pipe_among_pictures_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    os.mkfifo(tmp_path / "cat" / "x.jpg")
    Image.new("RGB", (4, 3)).save(tmp_path / "cat" / "y.png")
    classes, notes = read_class_folders(tmp_path)
    assert classes == {"cat": [tmp_path / "cat" / "y.png"]}
    assert any("cat/x.jpg" in note for note in notes)


@pytest.mark.parametrize("name", ["EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "DDS"])
def test_a_format_that_is_not_read_is_none_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (16, 16)).save(path, format=name)
    with pytest.raises(NotAnImageError, match=r"x\.jpg: cannot be read as an image \(it is in no"):
        decode_image(path)
    assert not is_image(path)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def test_a_small_file_of_a_large_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """13,300 x 13,300 is below Pillow's limit against bombs; it took 3.5 GB."""
    path = tmp_path / "large.png"
    header = struct.pack(">IIBBBBB", 13_300, 13_300, 8, 6, 0, 0, 0)  # RGBA
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    with pytest.raises(
        InputError,
        match=r"large\.png: has 13300 x 13300 pixels, which take 1415 MB to decode; right would be "
        r"at most 537 MB: a smaller picture",
    ):
        decode_image(path, least=1)


@pytest.mark.parametrize(("subsampling", "taken"), [("4:2:0", 100_000), ("4:4:4", 160_000)])
def test_a_progressive_jpeg_is_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subsampling: str, taken: int
) -> None:
    """Coefficients of 2 bytes: 1.5 or 3 of them for each of 20,000 pixels; and 8 bytes for each of
    the 5,000 that are left."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (200, 100)).save(path, progressive=True, subsampling=subsampling)
    monkeypatch.setattr(decoding, "_MOST_DECODED", taken)
    assert decode_image(path, least=50).size == (100, 50)
    monkeypatch.setattr(decoding, "_MOST_DECODED", taken - 1)
    with pytest.raises(InputError, match=r"a\.jpg: has 200 x 100 pixels"):
        decode_image(path, least=50)


def test_a_baseline_jpeg_counts_as_it_is_reduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (200, 100)).save(path)
    monkeypatch.setattr(decoding, "_MOST_DECODED", 40_000)
    assert decode_image(path, least=50).size == (100, 50)
    with pytest.raises(InputError, match="which take 0 MB"):
        decode_image(path)


def test_a_file_of_more_than_256_mib_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (4, 3)).save(path)
    os.truncate(path, 2**28)
    assert decode_image(path).size == (4, 3)
    os.truncate(path, 2**28 + 1)
    with pytest.raises(InputError, match=r"a\.jpg: is a file of 268435457 bytes; right would be"):
        decode_image(path)
