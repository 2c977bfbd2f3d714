"""A flatbuffer is read as the flatbuffers package writes it, and never beyond its end."""

import random
import struct
from typing import NamedTuple

import pytest

from mobile.device.flatbuffer import Bool, Byte, Double, Int, Long, UInt, ULong, read_flatbuffer

flatbuffers = pytest.importorskip("flatbuffers")


class Leaf(NamedTuple):
    number: Long
    text: str


class Other(NamedTuple):
    share: Double


class Root(NamedTuple):
    flag: Bool
    small: Byte
    signed: Int
    unsigned: UInt
    wide: ULong
    text: str | None
    data: memoryview | None
    numbers: tuple[Long, ...] | None
    leaves: tuple[Leaf, ...] | None
    leaf: Leaf | None
    either: Leaf | Other | None


def a_leaf(builder, number, text):
    text = builder.CreateString(text)
    builder.StartObject(2)
    builder.PrependInt64Slot(0, number, 0)
    builder.PrependUOffsetTRelativeSlot(1, text, 0)
    return builder.EndObject()


def vector(builder, width, prepend, values):
    builder.StartVector(width, len(values), width)
    for value in reversed(values):
        prepend(value)
    return builder.EndVector()


def written():
    builder = flatbuffers.Builder(0)
    first, second = a_leaf(builder, -5, "one"), a_leaf(builder, 0, "\N{SNOWMAN}")
    leaves = vector(builder, 4, builder.PrependUOffsetTRelative, [first, second, first])
    numbers = vector(builder, 8, builder.PrependInt64, [1, -(2**62), 3])
    text, data = builder.CreateString("root"), builder.CreateByteVector(b"\0\1\2")
    builder.StartObject(1)
    builder.PrependFloat64Slot(0, 0.1, 0.0)
    other = builder.EndObject()
    builder.StartObject(12)
    builder.PrependBoolSlot(0, True, False)
    builder.PrependInt8Slot(1, -7, 0)
    builder.PrependInt32Slot(2, -70_000, 0)
    builder.PrependUint32Slot(3, 2**32 - 1, 0)
    builder.PrependUint64Slot(4, 2**63, 0)
    for slot, offset in ((5, text), (6, data), (7, numbers), (8, leaves), (9, second)):
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    builder.PrependUint8Slot(10, 2, 0)
    builder.PrependUOffsetTRelativeSlot(11, other, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_what_the_package_wrote_is_read():
    root = read_flatbuffer(written(), Root, 1000)
    one, two = Leaf(-5, "one"), Leaf(0, "\N{SNOWMAN}")
    assert root[:6] == (True, -7, -70_000, 2**32 - 1, 2**63, "root")
    assert bytes(root.data) == b"\0\1\2"
    assert root[7:] == ((1, -(2**62), 3), (one, two, one), two, Other(0.1))


def test_what_is_absent_is_zero_or_none_where_it_may_be():
    builder = flatbuffers.Builder(0)
    builder.StartObject(12)
    builder.Finish(builder.EndObject())
    content = bytes(builder.Output())
    assert read_flatbuffer(content, Root, 100) == Root(False, 0, 0, 0, 0, *[None] * 6)
    with pytest.raises(ValueError, match="a Leaf lacks its text"):
        read_flatbuffer(content, Leaf, 100)


def test_a_field_that_is_not_described_is_refused():
    with pytest.raises(ValueError, match="a Leaf has a field"):
        read_flatbuffer(written(), Leaf, 1000)


def test_a_kind_that_a_union_does_not_have_is_refused():
    content = bytearray(written())
    root = struct.unpack_from("<I", content)[0]
    vtable = root - struct.unpack_from("<i", content, root)[0]
    content[root + struct.unpack_from("<H", content, vtable + 4 + 2 * 10)[0]] = 3
    with pytest.raises(ValueError, match="is of no kind that is known"):
        read_flatbuffer(bytes(content), Root, 1000)


def test_text_that_is_no_utf_8_is_refused():
    content = written().replace(b"one\0", b"\xff\xfe\xfd\0")
    with pytest.raises(ValueError, match="is no UTF-8"):
        read_flatbuffer(content, Root, 1000)


def test_text_without_an_end_is_refused():
    content = written().replace(b"one\0", b"ones")
    with pytest.raises(ValueError, match="has no end"):
        read_flatbuffer(content, Root, 1000)


def test_more_than_is_allowed_is_not_read():
    """Tables that share what they contain are few bytes and many parts."""
    builder = flatbuffers.Builder(0)
    leaf = a_leaf(builder, 1, "x" * 1000)
    leaves = vector(builder, 4, builder.PrependUOffsetTRelative, [leaf] * 1000)
    builder.StartObject(12)
    builder.PrependUOffsetTRelativeSlot(8, leaves, 0)
    builder.Finish(builder.EndObject())
    content = bytes(builder.Output())
    assert len(read_flatbuffer(content, Root, 2_000_000).leaves) == 1000
    with pytest.raises(ValueError, match="it has more parts than are read"):
        read_flatbuffer(content, Root, 1_000_000)


@pytest.mark.parametrize("size", range(0, 160, 3))
def test_a_buffer_that_is_cut_short_is_refused(size):
    with pytest.raises(ValueError, match=r".+"):
        read_flatbuffer(written()[:size], Root, 1000)


def test_whatever_stands_in_it_a_value_error_is_the_worst():
    content, rng = written(), random.Random(0)
    refused = 0
    for _ in range(20_000):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(changed) - 3)
            word = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)])
            changed[place : place + 4] = word.to_bytes(4, "little")
        try:
            read_flatbuffer(bytes(changed), Root, 1000)
        except ValueError:
            refused += 1
    assert refused > 10_000
