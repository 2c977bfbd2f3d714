"""A program's data are in its segments, and these in the file."""

import io
import struct

import pytest

from mobile.device import program_check
from mobile.device.bundle import read_manifest
from mobile.device.program_check import check_program

DATA = slice(32, 40)  # of a program's header: the bytes of all segments


def test_segments_beyond_the_data_are_refused(one_pass_bundle, program_in):
    program = program_in(one_pass_bundle)
    (size,) = struct.unpack("<Q", program[DATA])
    program = program[:32] + struct.pack("<Q", size // 2) + program[40:]
    with pytest.raises(ValueError, match=rf"a segment has .* of {size // 2:,}"):
        check_program(io.BytesIO(program), len(program), read_manifest(one_pass_bundle))


def test_data_beyond_the_file_are_refused(one_pass_bundle, program_in):
    program = program_in(one_pass_bundle)
    program = program[:32] + struct.pack("<Q", 1 << 40) + program[40:]
    with pytest.raises(ValueError, match="its data lie at bytes"):
        check_program(io.BytesIO(program), len(program), read_manifest(one_pass_bundle))


def test_a_delegates_data_outside_of_the_segments_are_refused(
    int8_one_pass, program_in, monkeypatch
):
    """As no flatbuffer of an exporter has it: what the reader found is changed."""
    read = program_check._read

    def read_otherwise(file, size):
        program, segments = read(file, size)
        plans = [
            plan._replace(
                delegates=[
                    each._replace(processed=each.processed._replace(location=0))
                    for each in plan.delegates
                ]
            )
            for plan in program.execution_plan
        ]
        return program._replace(execution_plan=plans), segments

    monkeypatch.setattr(program_check, "_read", read_otherwise)
    program = program_in(int8_one_pass)
    with pytest.raises(ValueError, match="a delegate's data where no export writes any"):
        check_program(io.BytesIO(program), len(program), read_manifest(int8_one_pass))
