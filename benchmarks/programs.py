"""The programs that peers run: made once for a version of the code, each in its own process."""

import hashlib
import importlib
import json
import shutil
import time
from collections.abc import Sequence
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
from cbpnet.atomic import write_atomically
from cbpnet.metrics import peak_rss_mb

__all__ = ["Made", "fingerprint", "get_program", "get_step"]

_ROOT = Path(__file__).resolve().parents[1]
_HOSTS = {"cli", "raspberry_pi"}  # they run programs and make none
_PACKAGES = ("torch", "executorch", "torchao")


@dataclass(frozen=True)
class Made:
    """A program, and what making it took in seconds and in MB (10^6 bytes) at its peak."""

    path: Path
    seconds: float
    peak_mb: float


def fingerprint(sources: Sequence[str], *what: object) -> str:
    """Return 12 hex digits of code, in folders or files, and of anything else that matters."""
    digest = hashlib.sha256(repr([*what, *map(version, _PACKAGES)]).encode())
    for source in sources:
        here = _ROOT / source
        for path in sorted(here.rglob("*.py")) if here.is_dir() else [here]:
            if _HOSTS.isdisjoint(path.parts):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def get_step(
    folder: Path, model: Model, count: int, dataset: str | None, data: Path | None
) -> Path:
    """Return the file of a step, in a folder of its own; see `make_step`."""
    name = f"{model.backbone}-{fingerprint(['cbpnet'], model, count, dataset)}"
    path = folder / name / "step.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _apart(_write_step, path, model, count, dataset, data)
    return path


def get_program(step: Path, name: str, peer: Peer) -> Made | None:
    """Return the program beside a step that a peer runs; None for one that runs none.

    Raises:
        AbsentError: it cannot be made here.
    """
    if peer.maker is None:
        return None
    maker = f"{peer.maker.replace('.', '/')}.py"
    path = step.with_name(f"{name}-{fingerprint([*peer.sources, maker])}")
    record = path.with_suffix(".json")
    if not record.exists():
        try:
            seconds, peak = _apart(_write_program, step, path, peer.maker, peer.variant)
        except Exception as error:  # a foreign exporter's failures are of every kind
            reason = (str(error).splitlines() or [""])[0]
            raise AbsentError(f"{type(error).__name__}: {reason}") from error
        write_atomically(record, json.dumps({"seconds": seconds, "peak_mb": peak}).encode())
    return Made(path, **json.loads(record.read_text(encoding="utf-8")))


def _apart(function: Any, *arguments: object) -> Any:
    """Run a function in a process of its own, whose memory ends with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _write_step(
    path: Path, model: Model, count: int, dataset: str | None, data: Path | None
) -> None:
    temporary = path.with_suffix(".new")
    save_step(make_step(model, count, dataset, data), temporary)
    temporary.replace(path)


def _write_program(step: Path, path: Path, maker: str, variant: str) -> tuple[float, float]:
    log_errors(path.with_suffix(".log"))
    begin = time.perf_counter()
    module: Any = importlib.import_module(maker)
    shutil.rmtree(path, ignore_errors=True)
    module.make(load_step(step), variant, path)
    return time.perf_counter() - begin, peak_rss_mb()
