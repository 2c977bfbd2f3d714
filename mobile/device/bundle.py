"""The bundle: one `.pte` file that any ExecuTorch runtime loads, with a checksum at its end.

An ExecuTorch program, then a trailer of 48 bytes, which the runtime ignores:

| bytes | what |
|---|---|
| 8 | `CBPNETMB` |
| 4 | format version, unsigned, little-endian: 2 |
| 4 | zero |
| 32 | SHA-256 of everything before it |

The program's method `manifest` returns a `Manifest` as JSON. The file is verified before the
runtime sees a byte of it: a damaged program can end the process.
"""

import hashlib
import json
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.state import Counted, Layout
from cbpnet.run.state_file import StateInfo

__all__ = [
    "FORMAT",
    "VERSION",
    "BackboneInfo",
    "Manifest",
    "MethodInfo",
    "StateTensor",
    "TensorInfo",
    "manifest_from_json",
    "manifest_to_json",
    "open_bundle",
    "seal",
]

FORMAT = "cbpnet-mobile bundle"
VERSION = 2

_MAGIC = b"CBPNETMB"
_HEAD = struct.Struct("<8sII")
_DIGEST = hashlib.sha256().digest_size
_TRAILER = _HEAD.size + _DIGEST
_PIECE = 1 << 18  # bytes that are read at a time
_PROGRAM_MAGIC = slice(4, 8)  # of an ExecuTorch program: ET12 and the like


@dataclass(frozen=True)
class TensorInfo:
    """A tensor that a method takes or gives; ``dtype`` is "float32" or "int64"."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StateTensor:
    """A tensor of the learner's state, all of which are fp32.

    ``counts`` is what its first axis counts, "classes" or "tasks", if either: a host appends
    entries to it where a state gets more capacity, and drops one where a class is forgotten.
    """

    name: str
    shape: tuple[int, ...]
    counts: Counted | None


@dataclass(frozen=True)
class MethodInfo:
    """A method's tensors in the order in which they are passed, and where its arithmetic runs.

    ``undelegated`` counts the operators outside the delegates by name; ``macs`` are the
    multiply-accumulates of one call, ``undelegated_macs`` those among them outside the delegates.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    delegate_calls: int
    undelegated: dict[str, int]
    macs: int
    undelegated_macs: int


@dataclass(frozen=True)
class BackboneInfo:
    """The backbone's timm name, size without head, width D and fp32 weights' fingerprint."""

    name: str
    parameters: int
    dim: int
    weights: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    ``classes`` and ``tasks`` are the capacity, ``class_names`` the labels that `initial_state`
    knows, by class number. Images are [``micro_batch``, 3, ``image_size``, ``image_size``].
    ``trainable_parameters`` are prompts and block, ``trainable_fraction`` their share of the
    backbone's; the head is in neither. ``state`` is the layout, in order; ``adaptation`` is that of
    what a one-pass learner trains and throws away, and empty where it trains nothing.
    """

    target: str
    target_options: dict[str, str]
    precision: str
    backbone: BackboneInfo
    preprocessing: Preprocessing
    config: LearnerConfig
    classes: int
    tasks: int
    class_names: tuple[str, ...]
    micro_batch: int
    image_size: int
    trainable_parameters: int
    trainable_fraction: float
    head_parameters: int
    state: tuple[StateTensor, ...]
    adaptation: tuple[StateTensor, ...]
    methods: dict[str, MethodInfo]
    quantisation: dict[str, Any] | None
    versions: dict[str, str]

    @property
    def layout(self) -> Layout:
        """The layout of the state's tensors."""
        return {tensor.name: tensor.shape for tensor in self.state}

    def state_info(self, class_names: tuple[str, ...], progress: dict[str, Any]) -> StateInfo:
        """Return what a state of this bundle's learner says of itself."""
        return StateInfo(
            backbone=self.backbone.name,
            weights=self.backbone.weights,
            dim=self.backbone.dim,
            preprocessing=self.preprocessing,
            config=self.config,
            classes=self.classes,
            tasks=self.tasks,
            class_names=class_names,
            progress=progress,
        )


def manifest_to_json(manifest: Manifest) -> str:
    """Return the string that a bundle's method `manifest` gives."""
    return json.dumps({"format": FORMAT, "format_version": VERSION, **asdict(manifest)})


def manifest_from_json(text: str) -> Manifest:
    """Return the manifest that `manifest_to_json` wrote.

    Raises:
        InputError: the text is of another format or version, or its entries are not a manifest's.
    """
    try:
        content = from_json(dict[str, Any], json.loads(text))
        found = content.pop("format", None), content.pop("format_version", None)
        if found != (FORMAT, VERSION):
            raise ValueError(f"its format is {found}, right would be {(FORMAT, VERSION)}")
        return from_json(Manifest, content)
    except ValueError as error:
        raise InputError(
            f"the bundle's manifest cannot be read ({error}); export the bundle again"
        ) from error


def seal(program: bytes) -> bytes:
    """Return a bundle: an ExecuTorch program's bytes with the trailer at their end."""
    content = program + _HEAD.pack(_MAGIC, VERSION, 0)
    return content + hashlib.sha256(content).digest()


def open_bundle(path: Path) -> BinaryIO:
    """Open a bundle and verify it; it is read in pieces, and nothing of it is kept.

    Raises:
        InputError: the file cannot be read, is no bundle, a bundle of another format, or damaged.
    """
    try:
        file = path.open("rb")
        try:
            _verify(file, path)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise InputError(
            f"bundle {path} cannot be read: {error.strerror}; "
            "name a file that `cbpnet-mobile export` wrote"
        ) from error
    return file


def _verify(file: BinaryIO, path: Path) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TRAILER))
    trailer = file.read()
    file.seek(0)
    start = file.read(_PROGRAM_MAGIC.stop)
    if size <= _TRAILER or trailer[: len(_MAGIC)] != _MAGIC:
        raise InputError(f"{path} is {_kind(start)}; export it again with `cbpnet-mobile export`")
    file.seek(0)
    # The checksum is of the same form in every version, so that damage is not taken for a version.
    if _sha256(file, size - _DIGEST) != trailer[-_DIGEST:]:
        raise InputError(
            f"bundle {path} is damaged: its checksum does not match; use an intact copy"
        )
    version = _HEAD.unpack_from(trailer)[1]
    if version != VERSION:
        right = "update cbpnet-mobile" if version > VERSION else "export the bundle again"
        raise InputError(
            f"bundle {path} has format version {version}; this version of cbpnet-mobile reads "
            f"version {VERSION}, so {right}"
        )


def _sha256(file: BinaryIO, size: int) -> bytes:
    """Return the SHA-256 of a file's next ``size`` bytes."""
    digest = hashlib.sha256()
    while piece := file.read(min(size, _PIECE)):
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


def _kind(start: bytes) -> str:
    """Say what a file without a trailer is, from its first bytes."""
    if start[_PROGRAM_MAGIC].startswith(b"ET"):
        return "a plain ExecuTorch program or a bundle cut short, without the end of a bundle"
    return "not a bundle"
