"""The learner's state as a file: safetensors, checksummed, the same on any host.

Beside the tensors of the layout, the file's metadata holds four strings: `format`,
`format_version`, `info` (a `StateInfo` as JSON) and `sha256`, over the UTF-8 of `info` and then,
for every tensor in the order of their names, its name and its bytes.
"""

import errno
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cbpnet.host.arrays import Array
from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json, read_json
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run.previous_state import (
    DamageError,
    Say,
    damaged_path,
    previous_path,
    read_newest,
    warn,
)
from cbpnet.run.state_checks import check_finite, check_state
from cbpnet.run.state_info import StateInfo

__all__ = [
    "FORMAT",
    "JOURNAL",
    "VERSION",
    "is_safetensors",
    "load_state",
    "load_with_journal",
    "read_info",
    "read_intact",
    "save_state",
]

FORMAT = "cbpnet-mobile learner state"
VERSION = 3
JOURNAL = "journal."  # what the names of a journal's arrays begin with

_DTYPES = ("F16", "F32", "F64", "I32", "I64", "U64")  # as safetensors call them
_KEYS = {"format", "format_version", "info", "sha256"}
_MOST_HEADER = 1 << 23  # bytes: some ten thousand lessons


def save_state(
    path: Path, state: HostState, info: StateInfo, more: Mapping[str, Array] | None = None
) -> None:
    """Write a state; after any failure or interruption an older file at ``path`` is as it was.

    Then it stays as `previous_path`, or where it is damaged as `damaged_path`. The same state makes
    the same bytes, whatever the order of its entries.

    Args:
        path: the state file.
        state: the layout's tensors, that ``info`` describes.
        info: what the state belongs to.
        more: arrays beside the layout's; their names begin with `JOURNAL`.

    Raises:
        InputError: the file cannot be written, or a number in the state is not finite or
            contradicts another one.
        ValueError: the state does not have the layout that ``info`` describes.
    """
    tensors = {
        name: np.ascontiguousarray(value) for name, value in {**state, **(more or {})}.items()
    }
    text = json.dumps(asdict(info), sort_keys=True)
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "info": text,
        "sha256": _checksum(text, tensors),
    }
    try:
        check_state(HostState(info.layout, dict(state)), info.class_names)
        for name, value in (more or {}).items():
            check_finite(name, value)
        content = _as_safetensors(tensors, metadata)
    except InputError as error:
        raise InputError(f"what is known is not written to {path}: {error}") from error
    older = previous_path(path) if _is_intact(path) else damaged_path(path)
    write_atomically(path, content, older)


def load_state(path: Path, say: Say = warn) -> tuple[HostState, StateInfo]:
    """Read what `save_state` wrote, bit for bit; raises as `load_with_journal`."""
    state, info, _ = load_with_journal(path, say)
    return state, info


def load_with_journal(path: Path, say: Say = warn) -> tuple[HostState, StateInfo, dict[str, Array]]:
    """Read what `save_state` wrote: the state, what it belongs to, and the journal's arrays.

    ``say`` is told where the file is damaged and the one before it is read.

    Raises:
        InputError: the file is missing, damaged, no learner state, of another format version, or
            its tensors are not those that its own info describes.
    """
    return read_newest(path, _load, say)


def read_info(path: Path) -> StateInfo:
    """Read only what a state belongs to, without looking whether the file is damaged elsewhere.

    Raises:
        InputError: the file is missing, no learner state, of another format version, or damaged
            where it says that.
    """
    with _open(path) as file:
        metadata = _read_metadata(path, file)
    if metadata.get("format") != FORMAT or metadata.get("format_version") != str(VERSION):
        raise InputError(f"state file {path} is no learner state of format version {VERSION}")
    try:
        return read_json(StateInfo, metadata.get("info", ""))
    except InputError as error:
        raise _contradiction(path, error) from error


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do, intact or not."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def read_intact(path: Path, versions: Collection[int]) -> tuple[str, dict[str, Array]]:
    """Return the info, as JSON, and the tensors of a state file that is of one of some versions.

    Raises:
        DamageError: it is not as it was written.
        InputError: the file is missing, no learner state, or of another format version.
    """
    metadata, tensors = _read(path)
    text, version = metadata.get("info", ""), metadata.get("format_version", "")
    named, readable = metadata.get("format") == FORMAT, version in map(str, versions)
    sealed = metadata.get("sha256") == _checksum(text, tensors)
    if not (named or sealed):
        raise InputError(
            f"state file {path} is no learner state: its format is {metadata.get('format')!r}, "
            f"it must be {FORMAT!r}"
        )
    if not readable and (version.isdigit() or not sealed):
        raise InputError(_other_version(path, version))
    if not (sealed and named and readable):
        raise DamageError(
            f"state file {path} is damaged: its checksum does not match; use an intact copy"
        )
    return text, tensors


def _load(path: Path) -> tuple[HostState, StateInfo, dict[str, Array]]:
    text, tensors = read_intact(path, [VERSION])
    try:
        info = read_json(StateInfo, text)
        more = {name: value for name, value in tensors.items() if name.startswith(JOURNAL)}
        own = {name: value for name, value in tensors.items() if name not in more}
        state = HostState(info.layout, own)
        check_state(state, info.class_names)
    except ValueError as error:
        raise _contradiction(path, error) from error
    return state, info, more


def _is_intact(path: Path) -> bool:
    """Return whether a file is as it was written, whatever it is."""
    try:
        read_intact(path, [VERSION])
    except DamageError:
        return False
    except InputError:
        return True
    return True


def _contradiction(path: Path, error: ValueError) -> InputError:
    return InputError(f"state file {path} contradicts itself: {error}")


def _open(path: Path) -> BinaryIO:
    if not path.is_file():
        raise InputError(f"state file {path} does not exist or is not a file")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"state file {path} cannot be read: {error.strerror}") from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    with _open(path) as file:
        metadata = _read_metadata(path, file)
        try:
            file.seek(0)
            return metadata, load(file.read())
        except (OSError, SafetensorError, ValueError) as error:
            raise _unreadable(path, error) from error


def _read_metadata(path: Path, file: BinaryIO) -> dict[str, str]:
    """Read the strings that safetensors begin with, and check what types their tensors have."""
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER:
            raise ValueError(f"its header has {length:,} bytes, of at most {_MOST_HEADER:,}")
        header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        metadata = header.pop("__metadata__", {})
        strings = from_json(dict[str, str], {key: metadata[key] for key in _KEYS & metadata.keys()})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, error) from error
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if dtype not in _DTYPES:
            raise DamageError(
                f"state file {path} cannot be read: its tensor {name!r} is of type "
                f"{dtype!r}; right would be one of {', '.join(_DTYPES)}"
            )
    return strings


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno != errno.EIO:
        return InputError(f"state file {path} cannot be read: {error.strerror}")
    return DamageError(
        f"state file {path} cannot be read as safetensors, it is truncated or of another "
        f"format: {error}"
    )


def _as_safetensors(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Return safetensors whose metadata are in order, which the library writes in any order."""
    plain = save(dict(tensors))
    end = 8 + int.from_bytes(plain[:8], "little")
    header = json.dumps(
        {"__metadata__": metadata} | json.loads(plain[8:end]), separators=(",", ":")
    )
    aligned = header.encode() + b" " * (-len(header) % 8)
    if len(aligned) > _MOST_HEADER:
        raise InputError(
            f"what it says of its lessons takes {len(aligned):,} bytes, of at most "
            f"{_MOST_HEADER:,}; right would be fewer lessons in one state"
        )
    return len(aligned).to_bytes(8, "little") + aligned + plain[end:]


def _other_version(path: Path, version: str) -> str:
    if version == "1":
        return (
            f"state file {path} was made by an older cbpnet-mobile, in format version 1; "
            f"`cbpnet-mobile move {path} --bundle BUNDLE --out FILE` takes its classes over into "
            "a bundle of the one-pass learner"
        )
    if version == "2":
        return (
            f"state file {path} was made by an older cbpnet-mobile, in format version 2, whose "
            "readout was another one; teach its classes again with a bundle that was exported anew"
        )
    return (
        f"state file {path} has format version {version}; this version of cbpnet-mobile reads "
        f"version {VERSION}"
    )


def _checksum(info: str, tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(info.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
