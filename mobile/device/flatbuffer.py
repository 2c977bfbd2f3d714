"""Reading a flatbuffer that may be hostile: every offset is checked before it is followed.

The flatbuffers package for Python reads what it is told to, wherever that lies; its verifier exists
in C++ only. Here a table is described by a `NamedTuple`, whose fields are those of its schema in
their order, and is read as one, checked. A field is annotated as

| annotation | in the schema | absent |
|---|---|---|
| `Bool`, `Byte`, `Int`, `UInt`, `Long`, `ULong`, `Double` | a number | 0 |
| `str`, a `NamedTuple`, a union of several | string, table, union | refused |
| `memoryview` | [ubyte], which is not copied | refused |
| `tuple[..., ...]` | a vector of numbers or of tables | refused |
| any of the last three with `| None` | the same | None |

Format: https://flatbuffers.dev/internals/.
"""

import struct
from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["Bool", "Byte", "Double", "Int", "Long", "UInt", "ULong", "read_flatbuffer"]

Bool = Annotated[bool, "?"]  # with the code that `struct` has for it
Byte = Annotated[int, "b"]
Int = Annotated[int, "i"]
UInt = Annotated[int, "I"]
Long = Annotated[int, "q"]
ULong = Annotated[int, "Q"]
Double = Annotated[float, "d"]

_BACK = struct.Struct("<i")
_LENGTH = struct.Struct("<I")
_SIZE = struct.Struct(
    "<H"
)  # of a vtable; what it says of its tables' size not all writers get right
_REQUIRED = object()

Table = TypeVar("Table")
_Read = Callable[["_Reader", int], Any]  # what an offset leads to, from there


def read_flatbuffer(data: bytes, kind: type[Table], most: int) -> Table:
    """Return the root table of a flatbuffer, read to its last leaf.

    Args:
        data: the flatbuffer, from its first byte to its last.
        kind: the root table's description; no table may be within itself.
        most: how many tables, elements of vectors and characters are read at most. A small file can
            have more of them than bytes, for tables may share what they contain.

    Raises:
        ValueError: it is no such flatbuffer, or has more; the message says where.
    """
    reader = _Reader(data, most)
    reader.check(0, 4, 4)
    root: Table = reader.table(_LENGTH.unpack_from(data)[0], kind)
    return root


class _Field(NamedTuple):
    """A field of a table's description.

    ``slot`` is its number in a vtable. That of a union is its value's; the slot before it has the
    number of the value's kind among ``kinds``, counted from 1. What ``code`` stands for is a number
    itself, or, with ``read``, the offset of what is read.
    """

    name: str
    slot: int
    code: str
    read: _Read | None
    kinds: tuple[type, ...]
    absent: Any


class _Form(NamedTuple):
    """Where tables of one kind with one vtable have their fields.

    Fields are known by their number in the description, and numbers by that in ``numbers``, which
    are unpacked at once.
    """

    numbers: struct.Struct
    wide: list[int]  # bytes from the table's start to a number that has to be aligned to 8
    absent: list[Any]  # values by field
    plain: list[tuple[int, int]]  # field, number
    followed: list[tuple[int, int, int, _Read]]  # field, number, bytes from the table's start
    unions: list[tuple[int, int, int, int, tuple[type, ...]]]  # likewise, and the kind's number


class _Reader:
    """A flatbuffer, and how much of it may still be read."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = data
        self._size = len(data)
        self._left = most
        self._forms: dict[tuple[type, int], _Form] = {}

    def table(self, place: int, kind: type) -> Any:
        if place % 4 or place + 4 > self._size:
            self.check(place, 4, 4)
        vtable = place - _BACK.unpack_from(self._data, place)[0]
        form = self._forms.get((kind, vtable))
        if form is None:
            form = self._forms[kind, vtable] = self._form(kind, vtable)
        if place + form.numbers.size > self._size:
            self.check(place, form.numbers.size, 4)
        for offset in form.wide:
            self.check(place + offset, 8, 8)
        self._count(1)
        numbers = form.numbers.unpack_from(self._data, place)
        values = form.absent.copy()
        for field, number in form.plain:
            values[field] = numbers[number]
        for field, number, offset, read in form.followed:
            values[field] = read(self, place + offset + numbers[number])
        for field, number, offset, which, kinds in form.unions:
            if not 1 <= numbers[which] <= len(kinds):
                raise ValueError(f"the table at byte {place:,} is of no kind that is known")
            values[field] = self.table(place + offset + numbers[number], kinds[numbers[which] - 1])
        return tuple.__new__(kind, values)

    def tables(self, place: int, kind: type) -> tuple[Any, ...]:
        offsets = self.numbers(place, "I", 4)
        places = range(place + 4, place + 4 + 4 * len(offsets), 4)
        return tuple(
            [self.table(at + offset, kind) for at, offset in zip(places, offsets, strict=True)]
        )

    def numbers(self, place: int, code: str, width: int) -> tuple[Any, ...]:
        length = self._length(place, width)
        return struct.unpack_from(f"<{length}{code}", self._data, place + 4)

    def bytes(self, place: int) -> memoryview:
        self.check(place, 4, 4)
        length = _LENGTH.unpack_from(self._data, place)[0]
        self.check(place + 4, length, 1)
        return memoryview(self._data)[place + 4 : place + 4 + length]

    def text(self, place: int) -> str:
        end = place + 4 + self._length(place, 1)
        self.check(end, 1, 1)
        if self._data[end]:
            raise ValueError(f"the text at byte {place:,} has no end")
        try:
            return self._data[place + 4 : end].decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"the text at byte {place:,} is no UTF-8") from error

    def check(self, place: int, length: int, alignment: int) -> None:
        """Raise a `ValueError` unless bytes are in the buffer, and their place is aligned."""
        if place < 0 or place + length > self._size or place % alignment:
            raise ValueError(
                f"there are no {length:,} bytes at byte {place:,} of {self._size:,}, aligned to "
                f"{alignment}"
            )

    def _length(self, place: int, width: int) -> int:
        """Return how many elements a vector has, all of which are in the buffer."""
        if place % 4 or place + 4 > self._size:
            self.check(place, 4, 4)
        length: int = _LENGTH.unpack_from(self._data, place)[0]
        if width == 8 or place + 4 + length * width > self._size:
            self.check(place + 4, length * width, width)
        self._count(length)
        return length

    def _form(self, kind: type, vtable: int) -> _Form:
        self.check(vtable, 4, 2)
        length = _SIZE.unpack_from(self._data, vtable)[0]
        if length < 4 or length % 2:
            raise ValueError(f"the vtable at byte {vtable:,} has {length} bytes")
        self.check(vtable, length, 2)
        self._count(length)
        offsets = struct.unpack_from(f"<{length // 2 - 2}H", self._data, vtable + 4)
        return _formed(kind, _described(kind), dict(enumerate(offsets)))

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise ValueError("it has more parts than are read")


def _formed(kind: type, fields: tuple[_Field, ...], offsets: dict[int, int]) -> _Form:
    """Return where tables have their fields, from the offsets in a vtable, 0 for an absent one."""
    codes = {}  # by slot
    for field in fields:
        codes[field.slot] = field.code
        if field.kinds:
            codes[field.slot - 1] = "B"
    there = sorted((offset, slot) for slot, offset in offsets.items() if offset)
    layout, end, wide = "<", 0, []
    number: dict[int, int] = {}
    for offset, slot in there:
        if slot not in codes:
            raise ValueError(f"a {kind.__name__} has a field that is not known")
        width = struct.calcsize(codes[slot])
        if offset < max(end, 4) or offset % min(width, 4):
            raise ValueError(f"a {kind.__name__} has a field at its byte {offset}")
        if width == 8:
            wide.append(offset)
        number[slot] = len(number)
        layout += f"{offset - end}x{codes[slot]}"
        end = offset + width
    form = _Form(struct.Struct(layout), wide, [field.absent for field in fields], [], [], [])
    for index, field in enumerate(fields):
        if field.kinds and (field.slot in number) != (field.slot - 1 in number):
            raise ValueError(f"a {kind.__name__} has half of its {field.name}")
        if field.slot not in number:
            if field.absent is _REQUIRED:
                raise ValueError(f"a {kind.__name__} lacks its {field.name}")
        elif field.kinds:
            which = number[field.slot - 1]
            form.unions.append((index, number[field.slot], offsets[field.slot], which, field.kinds))
        elif field.read:
            form.followed.append((index, number[field.slot], offsets[field.slot], field.read))
        else:
            form.plain.append((index, number[field.slot]))
    return form


@cache
def _described(kind: type) -> tuple[_Field, ...]:
    """Return a table's fields, from its annotations."""
    fields, slot = [], 0
    for name, hint in get_type_hints(kind, include_extras=True).items():
        options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kinds = tuple(option for option in options if option is not NoneType)
        absent = None if NoneType in options else _REQUIRED
        if len(kinds) > 1:
            slot += 1
            fields.append(_Field(name, slot, "I", None, kinds, absent))
        elif code := _code(kinds[0]):
            fields.append(_Field(name, slot, code, None, (), 0))
        else:
            fields.append(_Field(name, slot, "I", _reading(kinds[0]), (), absent))
        slot += 1
    return tuple(fields)


def _reading(kind: Any) -> _Read:
    """Return how what a field's offset leads to is read."""
    if kind is str:
        return _Reader.text
    if kind is memoryview:
        return _Reader.bytes
    if get_origin(kind) is not tuple:
        return lambda reader, place: reader.table(place, kind)
    element = get_args(kind)[0]
    code = _code(element)
    if not code:
        return lambda reader, place: reader.tables(place, element)
    width = struct.calcsize(code)
    return lambda reader, place: reader.numbers(place, code, width)


def _code(kind: Any) -> str:
    """Return the code that `struct` has for a kind of number; empty for any other kind."""
    return kind.__metadata__[0] if get_origin(kind) is Annotated else ""
