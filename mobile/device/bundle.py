"""The bundle: one `.pte` file that any ExecuTorch runtime loads, and that says what it is.

An ExecuTorch program, then a `Manifest` as JSON in UTF-8, then a trailer of 48 bytes; the runtime
ignores what follows the program:

| bytes | what |
|---|---|
| 8 | `CBPNETMB` |
| 4 | format version, unsigned, little-endian: 4 |
| 4 | bytes of the manifest, unsigned, little-endian |
| 32 | SHA-256 of everything before it |

The file is verified before the runtime sees a byte of it: a damaged program can end the process.
Nothing here needs a runtime, or torch.
"""

import hashlib
import json
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from mobile.device.manifest import Manifest
from mobile.device.manifest_check import check_manifest

__all__ = ["VERSION", "Bundle", "open_bundle", "read_manifest", "seal"]

VERSION = 4

_MAGIC = b"CBPNETMB"
_HEAD = struct.Struct("<8sII")
_DIGEST = hashlib.sha256().digest_size
_TRAILER = _HEAD.size + _DIGEST
_LARGEST = 1 << 22  # bytes of a manifest, of which ten thousand class names take a tenth
_DEEPEST = 100  # levels of its JSON
_PIECE = 1 << 18  # bytes that are read at a time
_PROGRAM_MAGIC = slice(4, 8)  # of an ExecuTorch program: ET12 and the like


@dataclass(frozen=True)
class Bundle:
    """A bundle that is intact: the open file, what it says of itself, and where its program ends.

    The program is the file's first ``program_bytes``, whose SHA-256 is ``program_sha256``;
    ``sha256`` is that of all before it in the file.
    """

    file: BinaryIO
    manifest: Manifest
    program_bytes: int
    program_sha256: bytes
    sha256: bytes


def seal(program: bytes, manifest: Manifest) -> bytes:
    """Return a bundle: an ExecuTorch program's bytes, the manifest and the trailer."""
    text = json.dumps(asdict(manifest)).encode()
    content = program + text + _HEAD.pack(_MAGIC, VERSION, len(text))
    return content + hashlib.sha256(content).digest()


def read_manifest(path: Path) -> Manifest:
    """Verify a bundle and return what it says of itself.

    Raises:
        InputError: as `open_bundle`.
    """
    bundle = open_bundle(path)
    bundle.file.close()
    return bundle.manifest


def open_bundle(path: Path) -> Bundle:
    """Open a bundle, verify it and read its manifest; of the program nothing is kept in memory.

    Raises:
        InputError: the file cannot be read, is no bundle, a bundle of another format, or damaged,
            or its manifest cannot be read.
    """
    try:
        file = path.open("rb")
        try:
            return _read(file, path)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise InputError(
            f"bundle {path} cannot be read: {error.strerror}; "
            "name a file that `cbpnet-mobile export` wrote"
        ) from error


def _read(file: BinaryIO, path: Path) -> Bundle:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_PROGRAM_MAGIC.stop)
    file.seek(max(0, size - _TRAILER))
    trailer = file.read()
    if size <= _TRAILER or trailer[: len(_MAGIC)] != _MAGIC:
        raise InputError(f"{path} is {_kind(start)}; export it again with `cbpnet-mobile export`")
    _, version, length = _HEAD.unpack_from(trailer)
    program_bytes = max(0, size - _TRAILER - length)
    digest = hashlib.sha256()
    file.seek(0)
    _update(digest, file, program_bytes)
    program_sha256 = digest.digest()
    _update(digest, file, size - _DIGEST - program_bytes)
    # The checksum is of the same form in every version, so that damage is not taken for a version.
    if digest.digest() != trailer[-_DIGEST:]:
        raise InputError(
            f"bundle {path} is damaged: its checksum does not match; use an intact copy"
        )
    if version != VERSION:
        right = "update cbpnet-mobile" if version > VERSION else "export the bundle again"
        raise InputError(
            f"bundle {path} has format version {version}; this version of cbpnet-mobile reads "
            f"version {VERSION}, so {right}"
        )
    most = min(size - _TRAILER, _LARGEST)
    if length > most:
        raise InputError(
            f"bundle {path} says that its manifest has {length:,} bytes; at most {most:,} would be "
            "right here, so export the bundle again"
        )
    file.seek(program_bytes)
    try:
        manifest = from_json(Manifest, _parsed(file.read(length)))
        check_manifest(manifest)
    except ValueError as error:
        raise InputError(
            f"the manifest of bundle {path} cannot be read ({error!s:.400}); "
            "export the bundle again"
        ) from error
    return Bundle(file, manifest, program_bytes, program_sha256, digest.digest())


def _parsed(text: bytes) -> Any:
    """Return JSON as a value; a `ValueError` says what else it is."""
    deep = f"it is nested deeper than {_DEEPEST} levels"
    try:
        value = json.loads(text.decode())
    except RecursionError as error:
        raise ValueError(deep) from error
    if _deeper(value, _DEEPEST):
        raise ValueError(deep)
    return value


def _deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value has more levels of objects and arrays."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(part, levels - 1) for part in parts)


def _update(digest: "hashlib._Hash", file: BinaryIO, size: int) -> None:
    """Take a file's next ``size`` bytes into a digest."""
    while piece := file.read(min(size, _PIECE)):
        digest.update(piece)
        size -= len(piece)


def _kind(start: bytes) -> str:
    """Say what a file without a trailer is, from its first bytes."""
    if start[_PROGRAM_MAGIC].startswith(b"ET"):
        return "a plain ExecuTorch program or a bundle cut short, without the end of a bundle"
    return "not a bundle"
