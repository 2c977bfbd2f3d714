"""The programs that peers run: made once for a version of the code, each in its own process."""

import hashlib
import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.peers import Peer
from benchmarks.step import Model, load_step, save_step
from benchmarks.step_maker import make_step
from benchmarks.worker import AbsentError, log_errors
from cbpnet.host.atomic import write_atomically
from cbpnet.host.memory import peak_rss_mb

__all__ = ["Made", "get_program", "get_step"]

_ROOT = Path(__file__).resolve().parents[1]
# Of this package, beside the makers.
_OURS = ("benchmarks/pytorch_learner.py", "benchmarks/step_maker.py")


@dataclass(frozen=True)
class Made:
    """A program, and what making it took in seconds and in MB (10^6 bytes) at its peak."""

    path: Path
    seconds: float
    peak_mb: float


def get_step(
    folder: Path, model: Model, count: int, dataset: str | None, data: Path | None
) -> Path:
    """Return the file of a step, in a folder of its own; see `make_step`."""
    key = hashlib.sha256(repr((model, count, dataset)).encode()).hexdigest()[:12]
    path = folder / f"{model.backbone}-{key}" / "step.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_once(path, _write_step, path, model, count, dataset, data)
    return path


def get_program(step: Path, name: str, peer: Peer) -> Made | None:
    """Return the program beside a step that a peer runs; None for one that runs none.

    Raises:
        AbsentError: it cannot be made here.
    """
    if peer.maker is None:
        return None
    path = step.with_name(name)
    try:
        return _make_once(path, _write_program, step, path, peer.maker, peer.variant)
    except Exception as error:  # a foreign exporter's failures are of every kind
        reason = (str(error).splitlines() or [""])[0]
        raise AbsentError(f"{type(error).__name__}: {reason}") from error


def _make_once(path: Path, function: Callable[..., object], *arguments: object) -> Made:
    """Let a function write a file in its own process, unless the code that wrote it is the same.

    What it took, and of which code it was made, is kept beside it.
    """
    record = path.with_name(f"{path.name}.json")
    if not path.exists() or not record.exists() or not _is_current(record):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            content = process.submit(_account, path, function, arguments).result()
        write_atomically(record, json.dumps(content, indent=1).encode())
    content = json.loads(record.read_text(encoding="utf-8"))
    return Made(path, content["seconds"], content["peak_mb"])


def _is_current(record: Path) -> bool:
    """Whether the versions and the files that something was made of are what they were."""
    content = json.loads(record.read_text(encoding="utf-8"))
    sources: dict[str, str] = content["sources"]
    return content["versions"] == _versions() and sources == _digests(sources)


def _account(
    path: Path, function: Callable[..., object], arguments: Sequence[object]
) -> dict[str, Any]:
    """Run the function, and return what it took and of which code."""
    log_errors(path.with_name(f"{path.name}.log"))
    begin = time.perf_counter()
    function(*arguments)
    seconds = time.perf_counter() - begin
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    files = {Path(file).resolve() for file in loaded if file}
    names = {str(file.relative_to(_ROOT)) for file in files if file.is_relative_to(_ROOT)}
    sources = sorted(name for name in names if _decides(name))
    return {
        "seconds": seconds,
        "peak_mb": peak_rss_mb(),
        "versions": _versions(),
        "sources": _digests(sources),
    }


def _decides(source: str) -> bool:
    """Whether a loaded file decides what is made: all but those that only call the maker."""
    if not source.startswith("benchmarks/"):
        return source.endswith(".py") and not source.startswith(".")
    return source in _OURS or source.endswith("_maker.py")


def _digests(sources: Iterable[str]) -> dict[str, str]:
    paths = {source: _ROOT / source for source in sources}
    return {
        source: hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        for source, path in paths.items()
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "executorch", "torchao")}


def _write_step(
    path: Path, model: Model, count: int, dataset: str | None, data: Path | None
) -> None:
    temporary = path.with_suffix(".new")
    save_step(make_step(model, count, dataset, data), temporary)
    temporary.replace(path)


def _write_program(step: Path, path: Path, maker: str, variant: str) -> None:
    module: Any = importlib.import_module(maker)
    if path.is_dir():
        shutil.rmtree(path)
    module.make(load_step(step), variant, path)
