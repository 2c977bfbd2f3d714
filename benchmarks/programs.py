"""The programs that peers run: made once for a version of the code, each in its own process."""

import hashlib
import importlib
import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.step import Model, load_step, save_step
from benchmarks.step_maker import make_step
from benchmarks.worker import AbsentError, log_errors
from cbpnet.atomic import write_atomically
from cbpnet.metrics import peak_rss_mb

__all__ = ["Made", "fingerprint", "get_program", "get_step"]

_ROOT = Path(__file__).resolve().parents[1]
_SOURCES = ("cbpnet", "quantize", "mobile", "benchmarks/peers")
_PACKAGES = ("torch", "executorch", "torchao")


@dataclass(frozen=True)
class Made:
    """A program, and what making it took in seconds and in MB (10^6 bytes) at its peak."""

    path: Path
    seconds: float
    peak_mb: float


def fingerprint(*what: object) -> str:
    """Return 12 hex digits of the code that makes programs, and of anything else that matters."""
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            if "cli" not in path.parts:
                digest.update(path.read_bytes())
    digest.update(repr([*what, *map(version, _PACKAGES)]).encode())
    return digest.hexdigest()[:12]


def get_step(
    folder: Path, model: Model, count: int, dataset: str | None, data: Path | None
) -> Path:
    """Return the file of a step, in a folder of its own; see `make_step`."""
    name = f"{model.backbone}-{fingerprint(model, count, dataset)}"
    path = folder / name / "step.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _apart(_write_step, path, model, count, dataset, data)
    return path


def get_program(step: Path, name: str, maker: str, variant: str) -> Made:
    """Return the program beside a step that a maker makes of it.

    Raises:
        AbsentError: it cannot be made here.
    """
    path, record = step.with_name(name), step.with_name(f"{name}.json")
    if not record.exists():
        try:
            seconds, peak = _apart(_write_program, step, path, maker, variant)
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
    log_errors(path.with_name(f"{path.name}.log"))
    begin = time.perf_counter()
    module: Any = importlib.import_module(maker)
    shutil.rmtree(path, ignore_errors=True)
    module.make(load_step(step), variant, path)
    return time.perf_counter() - begin, peak_rss_mb()
