"""Seeded mutations of bytes and of JSON: what an attacker, or a worn card, makes of a file."""

import copy
import random
import re
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["mutate_bytes", "mutate_json"]

_WORDS = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_NAMES = (b"QnnBackend", b"aten::nothing", b"\xff\xfe\xff", b"../../cat.jpg", b"", b"A" * 64)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    10**9,
    10**400,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "\x1b]0;title\x07",
    "x\ny",
    "\ud800",
    "a" * 10_000,
    [],
    {},
    [[[[]]]],
    {"a": {"b": {"c": 1}}},
)


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to three faults in them."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        draw.choice(_FAULTS)(changed, draw)
    return bytes(changed)


def mutate_json(value: Any, draw: random.Random) -> Any:
    """Return JSON in which one value is another one, or is missing, or is there twice."""
    changed = copy.deepcopy(value)
    container, key = draw.choice(_places(changed))
    fault = draw.randrange(6)
    if fault == 0:
        del container[key]
    elif fault == 1 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif fault == 2 and isinstance(container[key], int | float):
        container[key] *= draw.choice((-1, 2, 1000, 1.5))
    elif fault == 3:
        other, place = draw.choice(_places(changed))
        container[key] = copy.deepcopy(other[place])
    else:
        container[key] = draw.choice(_VALUES)
    return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return where each value within a JSON value stands: in what, and under which key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    found: list[tuple[Any, Any]] = []
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def _flip_a_bit(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _set_bytes(data: bytearray, draw: random.Random) -> None:
    place, count = draw.randrange(len(data)), draw.randint(1, 8)
    data[place : place + count] = draw.randbytes(len(data[place : place + count]))


def _set_a_word(data: bytearray, draw: random.Random) -> None:
    _put(data, _word(data, draw), draw.choice(_WORDS))


def _nudge_a_word(data: bytearray, draw: random.Random) -> None:
    place = _word(data, draw)
    _put(data, place, _get(data, place) + draw.choice((-8, -4, -2, -1, 1, 2, 4, 8, 256)))


def _swap_words(data: bytearray, draw: random.Random) -> None:
    one, other = _word(data, draw), _word(data, draw)
    first = _get(data, one)
    _put(data, one, _get(data, other))
    _put(data, other, first)


def _copy_a_run(data: bytearray, draw: random.Random) -> None:
    length = draw.choice((4, 8, 16, 64, 256))
    source, target = draw.randrange(len(data)), draw.randrange(len(data))
    run = data[source : source + length]
    data[target : target + len(run)] = run


def _clear_a_run(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    run = data[place : place + draw.choice((4, 16, 64, 512))]
    data[place : place + len(run)] = bytes(len(run))


def _cut(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    del data[place : place + draw.choice((1, 4, 32, len(data)))]
    data += b"\0" * 8 if len(data) < 8 else b""


def _insert(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    data[place:place] = draw.randbytes(draw.choice((1, 4, 32)))


def _rename(data: bytearray, draw: random.Random) -> None:
    """Write another name, with its length before it, over a string of a flatbuffer."""
    found = [match.start() for match in re.finditer(rb"[\x20-\x7e]{5,}", bytes(data[:1_000_000]))]
    if found:
        place, name = draw.choice(found), draw.choice(_NAMES)
        data[place : place + len(name) + 1] = name + b"\0"
        if place >= 4 and draw.random() < 0.7:
            _put(data, place - 4, len(name))


def _word(data: bytearray, draw: random.Random) -> int:
    return draw.randrange(max(len(data) // 4 - 1, 1)) * 4


def _get(data: bytearray, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "little")


def _put(data: bytearray, place: int, value: int) -> None:
    data[place : place + 4] = struct.pack("<I", value & 0xFFFFFFFF)


_FAULTS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_a_bit,
    _set_bytes,
    _set_a_word,
    _set_a_word,
    _nudge_a_word,
    _nudge_a_word,
    _swap_words,
    _copy_a_run,
    _clear_a_run,
    _cut,
    _insert,
    _rename,
)
