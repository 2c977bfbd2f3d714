"""The official form, made small: as folder and archive, honest, damaged and malicious."""

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbpnet.data.cifar100 import load_cifar100
from cbpnet.host.errors import InputError

NAMES = ["apple", "bear", "cat"]
# In the file's order: channel, row, column.
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3072), np.uint8)
LABELS = [2, 0, 1, 1, 0]


def _short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode("latin1")


def _python2_pickle(pixels: np.ndarray, labels: list[int]) -> bytes:
    """The byte codes of the official files: Python 2 strings, numpy 1 names, protocol 2."""
    raw = pixels.tobytes()
    return (
        b"\x80\x02}("
        + _short("data")
        + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + _short("b")
        + b"\x87R(K\x01"
        + b"M%bM%b\x86" % (struct.pack("<H", len(pixels)), struct.pack("<H", pixels.shape[1]))
        + b"cnumpy\ndtype\n"
        + _short("u1")
        + b"K\x00K\x01\x87R(K\x03"
        + _short("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
        + _short("fine_labels")
        + b"]("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"eu."
    )


def _python3_pickle(protocol: int) -> Callable[[np.ndarray, list[int]], bytes]:
    return lambda pixels, labels: pickle.dumps(
        {"data": pixels, "fine_labels": labels, "coarse_labels": labels}, protocol
    )


def _files(**replaced: bytes) -> dict[str, bytes]:
    part = _python2_pickle(PIXELS, LABELS)
    return {"meta": pickle.dumps({"fine_label_names": NAMES}, 2), "test": part, "train": part} | {
        name: content for name, content in replaced.items() if content is not None
    }


def _folder(root: Path, files: dict[str, bytes]) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _archive(path: Path, files: dict[str, bytes], folder: str = "cifar-100-python/") -> Path:
    compression = {".xz": "xz", ".tar": ""}.get(path.suffix, "gz")
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _assert_is_the_small_data_set(path: Path) -> None:
    dataset = load_cifar100(path)
    assert dataset.class_names == tuple(NAMES)
    for source in (dataset.train, dataset.test):
        assert source.labels.tolist() == LABELS
        for index, flat in enumerate(PIXELS):
            image = np.asarray(source.image(index))
            for channel in range(3):
                plane = flat[1024 * channel : 1024 * (channel + 1)].reshape(32, 32)
                np.testing.assert_array_equal(image[:, :, channel], plane)


def test_reads_the_folder_and_its_parent(tmp_path: Path) -> None:
    folder = _folder(tmp_path, _files())
    _assert_is_the_small_data_set(folder)
    _assert_is_the_small_data_set(tmp_path)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.xz", "a.tar"])
@pytest.mark.parametrize("folder", ["cifar-100-python/", "./cifar-100-python/", ""])
def test_reads_archives_without_unpacking(tmp_path: Path, name: str, folder: str) -> None:
    _assert_is_the_small_data_set(_archive(tmp_path / name, _files(), folder))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_pickles_that_python_3_wrote(tmp_path: Path, protocol: int) -> None:
    part = _python3_pickle(protocol)(PIXELS, LABELS)
    _assert_is_the_small_data_set(_folder(tmp_path, _files(train=part, test=part)))


def test_reads_pixels_stored_column_after_column(tmp_path: Path) -> None:
    part = _python3_pickle(4)(np.asfortranarray(PIXELS), LABELS)
    _assert_is_the_small_data_set(_folder(tmp_path, _files(train=part)))


def test_says_which_md5_differs(tmp_path: Path) -> None:
    notes = load_cifar100(_folder(tmp_path, _files())).notes
    for name, official in [
        ("train", "16019d7e3df5f24257cddd939b257f8d"),
        ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    ]:
        assert len([note for note in notes if f"{name} is not" in note and official in note]) == 1


class _Malicious:
    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("name", ["meta", "train", "test"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, name: str) -> None:
    target = tmp_path / "executed"
    content = pickle.dumps(_Malicious(Path.touch, target), 2)
    pickle.loads(content)
    assert target.exists()  # it would have run
    target.unlink()
    with pytest.raises(InputError, match=rf"{name} is damaged .*it asks for "):
        load_cifar100(_folder(tmp_path, _files(**{name: content})))
    assert not target.exists()


@pytest.mark.parametrize(
    "harmful", [_Malicious(eval, "1"), _Malicious(np.fromfile, "x"), _Malicious(np.zeros, 9)]
)
def test_only_the_needed_names_are_known(tmp_path: Path, harmful: object) -> None:
    content = pickle.dumps({"data": harmful}, 2)
    with pytest.raises(InputError, match="which CIFAR-100 never does"):
        load_cifar100(_folder(tmp_path, _files(train=content)))


ARRAY_TYPE = _python2_pickle(PIXELS, LABELS)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (b"", "train is damaged"),
        (ARRAY_TYPE[:-5000], "train is damaged"),
        (ARRAY_TYPE.replace(b"U\x02u1", b"U\x02O8"), "type 'O8'"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps({"data": [1], "fine_labels": [1]}), "has no data and fine_labels"),
        (_python2_pickle(PIXELS[:, :768], LABELS), r"\[5, 768\].*\[5, 3072\]"),
        (_python2_pickle(PIXELS, LABELS[:4]), "5, 3072.* for 4 labels"),
        (_python2_pickle(PIXELS, [0, 1, 2, 3, 0]), "not from 0 to 2"),
        (b"\x80\x02}(U\x04datacnumpy\nndarray\n)RU\x0bfine_labels](K\x00eu.", r"pixels \[0\]"),
        (b"\x80\x02}(U\x04datac_codecs\nencode\nU\x01xU\x03uu8\x86Ru.", "'uu8'"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(tmp_path: Path, train: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_cifar100(_folder(tmp_path, _files(train=train)))


@pytest.mark.parametrize("meta", [{}, {"fine_label_names": []}, {"fine_label_names": [1]}])
def test_class_names_are_needed(tmp_path: Path, meta: dict[str, object]) -> None:
    with pytest.raises(InputError, match="fine_label_names"):
        load_cifar100(_folder(tmp_path, _files(meta=pickle.dumps(meta))))


def test_a_path_without_cifar_100_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.*right would be the folder cifar-100-python"):
        load_cifar100(tmp_path / "absent")
    text = tmp_path / "text.tar.gz"
    text.write_text("no archive")
    with pytest.raises(InputError, match=r"text\.tar\.gz: cannot be read as an archive"):
        load_cifar100(text)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.xz"])
def test_a_truncated_archive_is_named(tmp_path: Path, name: str) -> None:
    path = _archive(tmp_path / name, _files())
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match=r"a\.tar\..z: cannot be read as an archive"):
        load_cifar100(path)


def test_an_archive_without_the_files_or_with_links_in_their_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-100-python/train")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "elsewhere")
        archive.addfile(link)
    with pytest.raises(InputError, match="holds no file meta, train, test"):
        load_cifar100(path)


def test_a_file_of_another_folder_in_the_archive_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no file meta, train, test"):
        load_cifar100(_archive(tmp_path / "a.tgz", _files(), "cifar-10/"))


def test_an_archive_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbpnet.data.cifar100._LARGEST_FILE", 10_000)
    with pytest.raises(InputError, match=r"(train|test) has \d+ bytes"):
        load_cifar100(_archive(tmp_path / "a.tgz", _files()))


def test_the_real_archive(cifar100_archive: Path) -> None:
    dataset = load_cifar100(cifar100_archive)
    assert dataset.notes == ()  # each md5 is the official one
    assert dataset.class_names[:3] == ("apple", "aquarium_fish", "baby")
    assert np.bincount(dataset.train.labels).tolist() == [500] * 100
    assert np.bincount(dataset.test.labels).tolist() == [100] * 100
    assert dataset.train.labels[:5].tolist() == [19, 29, 0, 11, 1]
    assert np.asarray(dataset.train.image(0))[0, 0].tolist() == [255, 255, 255]
