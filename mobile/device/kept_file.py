"""The file of kept pictures that stands beside a state file, and belongs to that state alone.

It is a zip, stored and not compressed: `index.json` with the labels, and the pictures, of which
`3/0.png` or `3/0.jpg` is the first of class 3. The state's progress holds its SHA-256, whose first
digits are in its name, so that a new state's pictures never take the place of the old one's.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cbpnet.host.atomic import final_path, real_path, remove_temporary
from cbpnet.host.errors import InputError
from mobile.device.kept_pictures import KeptPictures, decode_picture

__all__ = ["KeptRecord", "kept_path", "pack", "read_kept", "remove_others"]

_INDEX = "index.json"
_FORMAT = "cbpnet-mobile kept pictures, version 1"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same pictures make the same file
_SUFFIX = ".kept.zip"
_DIGITS = 16  # of the SHA-256, in a name
_KEPT = re.compile(rf"\.([0-9a-f]{{{_DIGITS}}}){re.escape(_SUFFIX)}$")
_ENTRY = re.compile(r"(0|[1-9][0-9]{0,5})/(0|[1-9][0-9]{0,5})\.(png|jpg)")
_BYTES_A_PIXEL, _HEADERS = 4, 4096  # of a picture at most: noise that no format makes smaller
_PNG = b"\x89PNG"


@dataclass(frozen=True)
class KeptRecord:
    """What a state says of its kept pictures: the ``limit`` a class, and the file's SHA-256."""

    limit: int
    sha256: str

    def __post_init__(self) -> None:
        if self.limit < 1 or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise InputError(
                f"kept pictures are recorded as {self.limit} a class with SHA-256 {self.sha256!r}; "
                "right would be at least 1, and 64 hexadecimal digits"
            )


def kept_path(state: Path, sha256: str) -> Path:
    """Return where the pictures stand that belong to a state file."""
    path = real_path(state)
    return path.with_name(f"{path.name}.{sha256[:_DIGITS]}{_SUFFIX}")


def pack(kept: KeptPictures, class_names: Sequence[str]) -> tuple[bytes, KeptRecord]:
    """Return the file of kept pictures, and what the state has to say of it."""
    index = {"format": _FORMAT, "class_names": list(class_names)}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_INDEX, _EPOCH), json.dumps(index, indent=1))
        for number, files in enumerate(kept.classes):
            for place, file in enumerate(files):
                kind = "png" if file.startswith(_PNG) else "jpg"
                archive.writestr(zipfile.ZipInfo(f"{number}/{place}.{kind}", _EPOCH), file)
    data = content.getvalue()
    return data, KeptRecord(kept.limit, hashlib.sha256(data).hexdigest())


def read_kept(state: Path, record: KeptRecord, classes: int, size: int) -> KeptPictures:
    """Read the pictures of S x S pixels that are kept with a state of some known classes.

    Nothing is unpacked to the disc, and no more is read than the file has bytes.

    Raises:
        InputError: they are not beside the state, are those of another one, or no such pictures.
    """
    path = kept_path(state, record.sha256)
    remedy = "put the file there that was saved with it, or go on without pictures (--keep 0)"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{state} was saved with kept pictures in {path}, which cannot be read "
            f"({error.strerror}); {remedy}"
        ) from error
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise InputError(f"{path} has not the pictures that {state} was saved with; {remedy}")
    try:
        return KeptPictures(record.limit, _unpack(data, record.limit, classes, size))
    except Exception as error:  # a reader fed with garbage raises nearly anything
        raise InputError(f"{path} cannot be used: {error}; {remedy}") from error


def remove_others(state: Path, needed: Collection[Path]) -> None:
    """Remove kept pictures but those needed, and what writers that were killed left of others."""
    folder = real_path(state).parent
    with suppress(OSError):  # they are in nobody's way
        for path in list(folder.iterdir()):
            final = final_path(path)
            found = _KEPT.search(final.name)
            if found is None or final != kept_path(state, found[1]) or path in needed:
                continue
            if path == final:
                path.unlink()
            else:
                remove_temporary(path)


def _unpack(data: bytes, limit: int, classes: int, size: int) -> tuple[tuple[bytes, ...], ...]:
    found: list[dict[int, bytes]] = [{} for _ in range(classes)]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("its entries have more bytes than the file")
        for entry in entries:
            if entry.filename == _INDEX:
                continue
            number, place = _place(entry, limit, classes, size)
            if place in found[number]:
                raise ValueError(f"its entry {entry.filename!r} stands there twice")
            found[number][place] = archive.read(entry)
    for number, files in enumerate(found):
        for place, file in files.items():
            try:
                decode_picture(file, size)
            except ValueError as error:
                raise ValueError(f"picture {place} of class {number} is {error}") from error
    return tuple(tuple(file for _, file in sorted(files.items())) for files in found)


def _place(entry: zipfile.ZipInfo, limit: int, classes: int, size: int) -> tuple[int, int]:
    """Return the class and the place of an entry that is a picture by its name and size."""
    parts = _ENTRY.fullmatch(entry.filename)
    if parts is None or int(parts[1]) >= classes or int(parts[2]) >= limit:
        raise ValueError(
            f"its entry {entry.filename!r} is none of {limit} pictures of {classes} classes"
        )
    most = _BYTES_A_PIXEL * size * size + _HEADERS
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
        raise ValueError(f"its entry {entry.filename!r} is compressed or above {most:,} bytes")
    return int(parts[1]), int(parts[2])
