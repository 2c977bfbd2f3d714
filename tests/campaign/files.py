"""Bundles and states with one fault each, their checksums made right as docs/bundle.md has them."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from tests.campaign.mutations import mutate_bytes, mutate_json

__all__ = ["mutated_bundle", "mutated_state"]

_TRAILER = 48
_GRAPHS = slice(16, 24)  # of a program's header: the bytes of its flatbuffer
_NUMBERS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5, 1e9, 3e38, 1e-45)


def mutated_bundle(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return which part of a bundle has a fault, and the bundle, sealed anew."""
    length = int.from_bytes(data[-36:-32], "little")
    program, manifest = data[: -_TRAILER - length], data[-_TRAILER - length : -_TRAILER]
    graphs = int.from_bytes(program[_GRAPHS], "little")
    part = draw.choices(("graphs", "data", "manifest"), (5, 3, 3))[0]
    if part == "graphs":
        program = mutate_bytes(program[:graphs], draw) + program[graphs:]
    elif part == "data":
        program = program[:graphs] + mutate_bytes(program[graphs:], draw)
    elif draw.random() < 0.1:
        manifest = mutate_bytes(manifest, draw)
    else:
        manifest = _json(mutate_json(json.loads(manifest), draw))
    head = data[-_TRAILER:-36] + len(manifest).to_bytes(4, "little")
    content = program + manifest + head
    return part, content + hashlib.sha256(content).digest()


def mutated_state(path: Path, draw: random.Random) -> tuple[str, bytes]:
    """Return which part of a state has a fault, and the state, with its checksum made right."""
    with safe_open(path, "numpy") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    part = draw.choice(("info", "info", "numbers", "numbers", "arrays", "bytes"))
    if part == "info":
        metadata["info"] = _json(mutate_json(json.loads(metadata["info"]), draw)).decode()
    elif part == "numbers":
        name = draw.choice(sorted(tensors))
        tensors[name] = _with_other_numbers(tensors[name], draw)
    elif part == "arrays":
        draw.choice(_ARRAY_FAULTS)(tensors, draw)
    digest = hashlib.sha256(metadata["info"].encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].tobytes())
    metadata["sha256"] = digest.hexdigest()
    data = save(tensors, metadata)
    return part, mutate_bytes(data, draw) if part == "bytes" else data


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()  # in ASCII: half a character is written as its number


def _with_other_numbers(array: np.ndarray, draw: random.Random) -> np.ndarray:
    changed = array.copy().reshape(-1)
    if not changed.size:
        return array
    places = [draw.randrange(changed.size) for _ in range(draw.choice((1, 1, 8)))]
    if array.dtype.kind == "f":
        changed[places] = np.array(draw.choice(_NUMBERS)).astype(array.dtype)
    else:
        changed[places] = draw.choice((0, 1, 1_000_000, np.iinfo(array.dtype).max))
    return changed.reshape(array.shape)


def _drop(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    del tensors[draw.choice(sorted(tensors))]


def _add(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    tensors[draw.choice(("new", "journal.7.x", "journal.base.new"))] = np.zeros(3, np.float32)


def _shorten(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    name = draw.choice(sorted(tensors))
    tensors[name] = np.ascontiguousarray(tensors[name][: draw.choice((0, -1))])


def _flatten(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    name = draw.choice(sorted(tensors))
    tensors[name] = tensors[name].reshape(-1, 1)


def _retype(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    name = draw.choice(sorted(tensors))
    with np.errstate(all="ignore"):
        tensors[name] = tensors[name].astype(draw.choice((np.float64, np.int8, np.uint64, bool)))


def _swap(tensors: dict[str, np.ndarray], draw: random.Random) -> None:
    one, other = draw.choice(sorted(tensors)), draw.choice(sorted(tensors))
    tensors[one], tensors[other] = tensors[other], tensors[one]


_ARRAY_FAULTS: tuple[Callable[[dict[str, np.ndarray], random.Random], None], ...] = (
    _drop,
    _add,
    _shorten,
    _flatten,
    _retype,
    _swap,
)
