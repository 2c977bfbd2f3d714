"""Whether a bundle's program may be given to a runtime, which believes what a program says.

A runtime follows a program's offsets and indices, loads what a delegate's options name, and ends
the process where two things do not fit. So a program is read here first, and refused unless it is
such as an export writes.
"""

import io
import struct
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO

from cbpnet.method.layout import MethodName, forward_methods
from mobile.device.flatbuffer import read_flatbuffer
from mobile.device.manifest import Manifest
from mobile.device.method_check import Allowed, check_method
from mobile.device.program_schema import DataSegment, Program

__all__ = ["DELEGATES", "check_program", "planned_bytes", "runs_here"]

# What a target's passes through the backbone forwards run in, where that is not XNNPACK.
DELEGATES = {
    "coreml": "CoreMLBackend",
    "ethos-u": "EthosUBackend",
    "openvino": "OpenvinoBackend",
    "qnn": "QnnBackend",
    "vgf": "VgfBackend",
    "vulkan": "VulkanBackend",
}

# After the flatbuffer's offset and its identifier: name and length of the header, bytes of the
# flatbuffer, where the segments begin, and how many bytes they have.
_HEADER = struct.Struct("<4x4s4sIQQQ")
_EXPECTED = (b"ET12", b"eh00", _HEADER.size - 8)
_IN_SEGMENT = 1  # where a delegate has its data
_LARGEST = 1 << 26  # bytes of a flatbuffer, which has graphs and no weights
_MOST = 1 << 22  # tables, elements and characters in it


def check_program(file: BinaryIO, size: int, manifest: Manifest) -> None:
    """Check the program at a file's start, which has ``size`` bytes.

    Raises:
        ValueError: it is not what an export for the manifest's target, with the manifest's methods
            and within its limits, writes; the message says what it has, and what would be right.
    """
    program, segments = _read(file, size)
    if program.version or program.constant_buffer or program.backend_delegate_data:
        raise ValueError("it has data where no export writes any")
    if program.mutable_data_segments:
        raise ValueError("it keeps a state of its own")
    for data in program.named_data or ():
        _segment(segments, data.segment_index)
    constants = _constants(program, segments)
    names = Counter(plan.name for plan in program.execution_plan)
    for name in sorted(names.keys() | manifest.methods.keys()):
        if names[name] != (name in manifest.methods):
            raise ValueError(
                f"it has the method {name!r} {names[name]} times, and its manifest "
                f"{int(name in manifest.methods)} times"
            )
    for plan in program.execution_plan:
        delegates = {"XnnpackBackend"}
        if plan.name in forward_methods(manifest.config):
            delegates |= {DELEGATES.get(manifest.target, "XnnpackBackend")}
        for delegate in plan.delegates:
            if delegate.processed.location != _IN_SEGMENT:
                raise ValueError("it has a delegate's data where no export writes any")
            _segment(segments, delegate.processed.number)
        try:
            allowed = Allowed(delegates, manifest.limits.planned_bytes, constants)
            check_method(plan, manifest.methods[plan.name], allowed)
        except ValueError as error:
            raise ValueError(f"its method {plan.name!r} {error}") from error


def runs_here(manifest: Manifest, method: MethodName) -> bool:
    """Return whether a method may be loaded on this host.

    Qualcomm's delegate loads the libraries that a bundle's options name, so it is left to Android.
    """
    return manifest.target != "qnn" or method not in forward_methods(manifest.config)


def planned_bytes(program: bytes) -> int:
    """Return the memory that a program's method plans, of the one that plans the most."""
    plans = _read(io.BytesIO(program), len(program))[0].execution_plan
    return max(sum(plan.non_const_buffer_sizes) for plan in plans)


def _read(file: BinaryIO, size: int) -> tuple[Program, Sequence[DataSegment]]:
    """Return the flatbuffer, and the segments, all of which are in the file."""
    file.seek(0)
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise ValueError(f"it has {size} bytes")
    *found, length, base, data = _HEADER.unpack(head)
    if tuple(found) != _EXPECTED:
        raise ValueError("it does not begin as a program of ExecuTorch 1.4 does")
    if length > min(size, _LARGEST):
        raise ValueError(f"its graphs have {length:,} bytes; at most {_LARGEST:,} are right")
    file.seek(0)
    program = read_flatbuffer(file.read(length), Program, _MOST)
    segments = program.segments or ()
    if segments and not length <= base <= base + data <= size:
        raise ValueError(f"its data lie at bytes {base:,} to {base + data:,} of {size:,}")
    for segment in segments:
        if segment.offset + segment.size > data:
            raise ValueError(
                f"a segment has {segment.size:,} bytes at byte {segment.offset:,} of {data:,}"
            )
    return program, segments


def _constants(program: Program, segments: Sequence[DataSegment]) -> list[int]:
    """Return how many bytes there are from each constant's beginning to its segment's end."""
    constants = program.constant_segment
    if constants is None or not constants.offsets:
        return []
    segment = _segment(segments, constants.segment_index)
    return [segment.size - offset for offset in constants.offsets]


def _segment(segments: Sequence[DataSegment], index: int) -> DataSegment:
    if index >= len(segments):
        raise ValueError(f"it refers to segment {index} of {len(segments)}")
    return segments[index]
