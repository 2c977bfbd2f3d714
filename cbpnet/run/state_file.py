"""The learner's state as a file: safetensors, checksummed, the same on any host.

Beside the tensors of the layout, the file's metadata holds four strings: `format`,
`format_version`, `info` (a `StateInfo` as JSON) and `sha256`, over the UTF-8 of `info` and then,
for every tensor in the order of their names, its name and its bytes.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cbpnet.host.arrays import Array
from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run.state_info import StateInfo

__all__ = [
    "FORMAT",
    "JOURNAL",
    "VERSION",
    "is_safetensors",
    "load_state",
    "load_with_journal",
    "read_intact",
    "save_state",
]

FORMAT = "cbpnet-mobile learner state"
VERSION = 3
JOURNAL = "journal."  # what the names of a journal's arrays begin with


def save_state(
    path: Path, state: HostState, info: StateInfo, more: Mapping[str, Array] | None = None
) -> None:
    """Write a state; after any failure or interruption an older file at ``path`` is as it was.

    ``more`` are arrays beside the layout's; their names begin with `JOURNAL`.

    Raises:
        InputError: the file cannot be written.
        ValueError: the state is not fp32 or does not have the layout that ``info`` describes.
    """
    _check_tensors(info, dict(state))
    tensors = {
        name: np.ascontiguousarray(value) for name, value in {**state, **(more or {})}.items()
    }
    text = json.dumps(asdict(info))
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "info": text,
        "sha256": _checksum(text, tensors),
    }
    write_atomically(path, save(tensors, metadata))


def load_state(path: Path) -> tuple[HostState, StateInfo]:
    """Read what `save_state` wrote, bit for bit; raises as `load_with_journal`."""
    state, info, _ = load_with_journal(path)
    return state, info


def load_with_journal(path: Path) -> tuple[HostState, StateInfo, dict[str, Array]]:
    """Read what `save_state` wrote: the state, what it belongs to, and the journal's arrays.

    Raises:
        InputError: the file is missing, damaged, no learner state, of another format version, or
            its tensors are not those that its own info describes.
    """
    text, tensors = read_intact(path, [VERSION])
    try:
        info = from_json(StateInfo, json.loads(text))
        more = {name: value for name, value in tensors.items() if name.startswith(JOURNAL)}
        own = {name: value for name, value in tensors.items() if name not in more}
        _check_tensors(info, own)
    except ValueError as error:
        raise InputError(f"state file {path} contradicts itself: {error}") from error
    return HostState(info.layout, own), info, more


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
        InputError: the file is missing, damaged, no learner state, or of another format version.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"state file {path} is no learner state: its format is {metadata.get('format')!r}, "
            f"it must be {FORMAT!r}"
        )
    version = str(metadata.get("format_version"))
    if version not in map(str, versions):
        raise InputError(_other_version(path, version))
    text = metadata.get("info", "")
    if metadata.get("sha256") != _checksum(text, tensors):
        raise InputError(
            f"state file {path} is damaged: its checksum does not match; use an intact copy"
        )
    return text, tensors


def _read(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    if not path.is_file():
        raise InputError(f"state file {path} does not exist or is not a file")
    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"state file {path} cannot be read as safetensors, it is truncated or of another "
            f"format: {error}"
        ) from error


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


def _check_tensors(info: StateInfo, tensors: Mapping[str, Array]) -> None:
    HostState(info.layout, tensors)
    for name, value in tensors.items():
        if value.dtype != np.float32:
            raise ValueError(f"state tensor {name!r} is {value.dtype}; it must be float32")
