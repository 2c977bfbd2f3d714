"""A result: what was measured, on which board, with which bundle; one JSON file each."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from mobile.device.manifest import Manifest
from mobile.measure.accuracy import Accuracy
from mobile.measure.board import Board, describe_board
from mobile.measure.latency import Latency
from mobile.measure.learning import Learning
from mobile.measure.protocol import ProtocolFigures

__all__ = [
    "Bundle",
    "Figures",
    "Result",
    "describe_bundle",
    "file_digest",
    "find_results",
    "take",
    "write_result",
]

FORMAT = "cbpnet-mobile board result"
VERSION = 1

Figures = Accuracy | Latency | Learning | ProtocolFigures
_KINDS: dict[str, type[Figures]] = {
    "accuracy": Accuracy,
    "latency": Latency,
    "learning": Learning,
    "protocol": ProtocolFigures,
}


@dataclass(frozen=True)
class Bundle:
    """Which bundle figures are of; ``digest`` are 16 hexadecimal digits of the file's SHA-256."""

    name: str
    digest: str
    bytes: int
    backbone: str
    target: str
    precision: str
    image_size: int
    micro_batch: int


@dataclass(frozen=True)
class Result:
    """Figures with their conditions; ``taken`` is the board's date, as ISO 8601."""

    taken: str
    board: Board
    bundle: Bundle
    figures: Figures

    @property
    def kind(self) -> str:
        """What the figures are of, as a result's file names it."""
        (kind,) = [name for name, figures in _KINDS.items() if isinstance(self.figures, figures)]
        return kind


@dataclass(frozen=True)
class _Record:
    """What a result's file holds: its figures are of the kind that it names."""

    format: str
    version: int
    kind: Literal["accuracy", "latency", "learning", "protocol"]
    taken: str
    board: Board
    bundle: Bundle
    figures: dict[str, Any]


def file_digest(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def describe_bundle(path: Path, manifest: Manifest) -> Bundle:
    """Return what figures of a bundle are kept with."""
    return Bundle(
        path.name,
        file_digest(path),
        path.stat().st_size,
        manifest.backbone.name,
        manifest.target,
        manifest.precision,
        manifest.image_size,
        manifest.micro_batch,
    )


def take(bundle: Bundle, figures: Figures) -> Result:
    """Return figures as this machine's result of now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Result(now, describe_board(), bundle, figures)


def write_result(path: Path, result: Result) -> None:
    """Write a result atomically.

    Raises:
        InputError: the file cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, "kind": result.kind} | asdict(result)
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def find_results(path: Path) -> dict[Path, Result]:
    """Return the results in a folder and its folders, or the one in a file, by file.

    Other JSON files in a folder are passed over.

    Raises:
        InputError: there is no result, or one is damaged.
    """
    found = {}
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        content = _read(file)
        if isinstance(content, dict) and content.get("format") == FORMAT:
            found[file] = _result(file, content)
        elif file == path:
            raise InputError(f"{path} is no result of latency, evaluate or learn; name one")
    if not found:
        raise InputError(f"{path} holds no result; measure some with latency, evaluate or learn")
    return found


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error}); measure it again") from error


def _result(file: Path, content: dict[str, Any]) -> Result:
    if content.get("version") != VERSION:
        raise InputError(
            f"{file} has version {content.get('version')}; this version of cbpnet-mobile reads "
            f"version {VERSION}"
        )
    try:
        record = from_json(_Record, content)
        figures = from_json(_KINDS[record.kind], record.figures)
    except InputError as error:
        raise InputError(f"{file} is damaged ({error}); measure it again") from error
    return Result(record.taken, record.board, record.bundle, figures)
