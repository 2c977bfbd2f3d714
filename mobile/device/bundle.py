"""The bundle: one `.pte` file that any ExecuTorch runtime loads, and that says what it is.

An ExecuTorch program, then a `Manifest` as JSON in UTF-8, then a trailer of 48 bytes; the runtime
ignores what follows the program:

| bytes | what |
|---|---|
| 8 | `CBPNETMB` |
| 4 | format version, unsigned, little-endian: 3 |
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

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import Counted, Layout
from cbpnet.run.state_info import StateInfo

__all__ = [
    "VERSION",
    "BackboneInfo",
    "Manifest",
    "MethodInfo",
    "StateTensor",
    "TensorInfo",
    "open_bundle",
    "read_manifest",
    "seal",
]

VERSION = 3

_MAGIC = b"CBPNETMB"
_HEAD = struct.Struct("<8sII")
_DIGEST = hashlib.sha256().digest_size
_TRAILER = _HEAD.size + _DIGEST
_LARGEST = 1 << 22  # bytes of a manifest, of which ten thousand class names take a tenth
_DEEPEST = 100  # levels of its JSON
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
    file, manifest = open_bundle(path)
    file.close()
    return manifest


def open_bundle(path: Path) -> tuple[BinaryIO, Manifest]:
    """Open a bundle, verify it and read its manifest; of the program nothing is kept in memory.

    Raises:
        InputError: the file cannot be read, is no bundle, a bundle of another format, or damaged,
            or its manifest cannot be read.
    """
    try:
        file = path.open("rb")
        try:
            return file, _read_manifest(file, path)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise InputError(
            f"bundle {path} cannot be read: {error.strerror}; "
            "name a file that `cbpnet-mobile export` wrote"
        ) from error


def _read_manifest(file: BinaryIO, path: Path) -> Manifest:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TRAILER))
    trailer = file.read()
    _verify(file, size, trailer, path)
    length = _HEAD.unpack_from(trailer)[2]
    most = min(size - _TRAILER, _LARGEST)
    if length > most:
        raise InputError(
            f"bundle {path} says that its manifest has {length:,} bytes; at most {most:,} would be "
            "right here, so export the bundle again"
        )
    file.seek(size - _TRAILER - length)
    try:
        return from_json(Manifest, _parsed(file.read(length)))
    except ValueError as error:
        raise InputError(
            f"the manifest of bundle {path} cannot be read ({error}); export the bundle again"
        ) from error


def _verify(file: BinaryIO, size: int, trailer: bytes, path: Path) -> None:
    """Raise `InputError` unless a file is an intact bundle of this format."""
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
