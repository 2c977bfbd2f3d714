"""CIFAR-100 in its official python form, read without trusting it.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky, 2009).
"""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ArrayImages
from cbpnet.host.errors import InputError

__all__ = ["load_cifar100"]

_FOLDER = "cifar-100-python"
_MD5 = {
    "meta": "7973b15100ade9c7d40fb424638fde48",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
_LARGEST_FILE = 512 * 2**20  # the largest real one, train, has 155 MB
_EXPECTED = (
    f"the folder {_FOLDER} with its files {', '.join(_MD5)}, the folder that holds it, "
    "or the official archive (.tar.gz, .tgz or .tar.xz)"
)


def load_cifar100(path: Path) -> Dataset:
    """Read CIFAR-100 with its 100 fine classes in their natural order.

    `path` is the folder cifar-100-python, its parent, or the archive as .tar.gz, .tgz or .tar.xz,
    which is read in memory (.tar.xz: some seconds). A file whose md5 is not the official one is
    read all the same, and named in the notes. Pickles are loaded without running what they name.

    Raises InputError for a path that holds no CIFAR-100 and for damaged or foreign files.
    """
    files = _read_archive(path) if path.is_file() else _read_folder(path)
    meta = _unpickle(path, "meta", files["meta"])
    names = meta.get("fine_label_names")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(
            f"{path}: meta has no list of fine_label_names; right would be {_EXPECTED}"
        )
    return Dataset(
        name="cifar100",
        class_names=tuple(names),
        train=_images(path, "train", files["train"], len(names)),
        test=_images(path, "test", files["test"], len(names)),
        classes_per_task=10,
        notes=tuple(_md5_notes(path, files)),
    )


def _read_folder(path: Path) -> dict[str, bytes]:
    folder = path / _FOLDER if (path / _FOLDER).is_dir() else path
    try:
        return {name: (folder / name).read_bytes() for name in _MD5}
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}); right would be {_EXPECTED}"
        ) from error


def _read_archive(path: Path) -> dict[str, bytes]:
    """The three files, read in one pass, since seeking in .tar.xz decompresses anew."""
    files = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                inner = PurePosixPath(member.name)
                if inner.name in _MD5 and inner.parent.name in ("", _FOLDER) and member.isfile():
                    files[inner.name] = _read_member(archive, member)
    except Exception as error:  # each compression raises errors of its own
        raise InputError(
            f"{path}: cannot be read as an archive ({error}); right would be {_EXPECTED}"
        ) from error
    missing = [name for name in _MD5 if name not in files]
    if missing:
        raise InputError(f"{path}: holds no file {', '.join(missing)}; right would be {_EXPECTED}")
    return files


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > _LARGEST_FILE:
        raise ValueError(f"{member.name} has {member.size} bytes")
    content = archive.extractfile(member)
    assert content is not None  # the member is a regular file
    return content.read()


def _md5_notes(path: Path, files: dict[str, bytes]) -> list[str]:
    notes = []
    for name, official in _MD5.items():
        md5 = hashlib.md5(files[name], usedforsecurity=False).hexdigest()
        if md5 != official:
            notes.append(
                f"{path}: {name} is not the official CIFAR-100 file: its md5 is {md5}, "
                f"the official one {official}"
            )
    return notes


def _images(path: Path, name: str, content: bytes, classes: int) -> ArrayImages:
    record = _unpickle(path, name, content)
    pixels, labels = record.get("data"), record.get("fine_labels")
    if not isinstance(pixels, _PickledArray) or not isinstance(labels, list):
        raise InputError(f"{path}: {name} has no data and fine_labels; right would be {_EXPECTED}")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise InputError(f"{path}: {name} has labels that are not from 0 to {classes - 1}")
    if pixels.values.shape != (len(labels), 3072):
        raise InputError(
            f"{path}: {name} has pixels {list(pixels.values.shape)} for {len(labels)} labels; "
            f"right would be [{len(labels)}, 3072]"
        )
    channels_last = pixels.values.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return ArrayImages(channels_last, np.array(labels, np.int64), f"CIFAR-100 {name} image")


class _PickledArray:
    """Stands for numpy's array in a pickle, so that no numpy constructor runs on its word."""

    def __init__(self, *_: object) -> None:
        self.values: npt.NDArray[np.uint8] = np.empty(0, np.uint8)  # until its state arrives

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, _, fortran_order, raw = state
        octets = raw.encode("latin1") if isinstance(raw, str) else raw
        self.values = np.frombuffer(octets, np.uint8).reshape(
            shape, order="F" if fortran_order else "C"
        )


class _PickledUint8:
    """Stands for numpy's dtype in a pickle, and accepts unsigned bytes only."""

    def __init__(self, code: str, *_: object) -> None:
        if code != "u1":
            raise pickle.UnpicklingError(f"an array of type {code!r} where 'u1' is expected")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for bytes."""


def _encode(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes as a call of codecs.encode when it writes for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r} where 'latin1' is expected")
    return text.encode("latin1")


_KNOWN_NAMES = {
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledUint8,
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names that numpy arrays need, under numpy 1 and 2, and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN_NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR-100 never does")
        return _KNOWN_NAMES[module, name]


def _unpickle(path: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        record = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(
            f"{path}: {name} is damaged or no CIFAR-100 file ({error}); right would be {_EXPECTED}"
        ) from error
    if not isinstance(record, dict):
        raise InputError(
            f"{path}: {name} holds a {type(record).__name__}, not a table; "
            f"right would be {_EXPECTED}"
        )
    return record
