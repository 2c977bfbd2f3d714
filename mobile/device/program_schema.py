"""The tables of an ExecuTorch program, as `mobile.device.flatbuffer` reads them.

They are those of ExecuTorch 1.4's `schema/program.fbs`, whose names and order they have; what its
runtime cannot do without is required here. Flatbuffers number a union's kinds from 1.
"""

from typing import NamedTuple

from mobile.device.flatbuffer import Bool, Byte, Double, Int, Long, UInt, ULong

__all__ = [
    "BoolValue",
    "DataSegment",
    "DelegateCall",
    "DoubleValue",
    "ExecutionPlan",
    "IntList",
    "IntValue",
    "JumpFalseCall",
    "KernelCall",
    "Null",
    "Program",
    "StringValue",
    "Tensor",
    "TensorList",
]


class ContainerMetadata(NamedTuple):
    encoded_inp_str: str
    encoded_out_str: str


class Null(NamedTuple):
    pass


class AllocationDetails(NamedTuple):
    memory_id: UInt
    memory_offset_low: UInt
    memory_offset_high: UInt


class ExtraTensorInfo(NamedTuple):
    mutable_data_segments_idx: ULong
    fully_qualified_name: str | None
    location: Byte
    device_type: Byte
    device_index: Byte


class Tensor(NamedTuple):
    scalar_type: Byte
    storage_offset: Int
    sizes: tuple[Int, ...]
    dim_order: memoryview
    requires_grad: Bool
    data_buffer_idx: UInt
    allocation_info: AllocationDetails | None
    layout: Byte
    shape_dynamism: Byte
    extra_tensor_info: ExtraTensorInfo | None


class IntValue(NamedTuple):
    int_val: Long


class BoolValue(NamedTuple):
    bool_val: Bool


class DoubleValue(NamedTuple):
    double_val: Double


class StringValue(NamedTuple):
    string_val: str


class IntList(NamedTuple):
    items: tuple[Long, ...]  # of values


class DoubleList(NamedTuple):
    items: tuple[Double, ...]


class BoolList(NamedTuple):
    items: tuple[Bool, ...]


class TensorList(NamedTuple):
    items: tuple[Int, ...]  # of values


class OptionalTensorList(NamedTuple):
    items: tuple[Int, ...]  # of values, or -1


class EValue(NamedTuple):
    val: (
        Null
        | IntValue
        | BoolValue
        | DoubleValue
        | Tensor
        | StringValue
        | IntList
        | DoubleList
        | BoolList
        | TensorList
        | OptionalTensorList
    )


class Operator(NamedTuple):
    name: str
    overload: str


class KernelCall(NamedTuple):
    op_index: Int
    args: tuple[Int, ...]


class DelegateCall(NamedTuple):
    delegate_index: Int
    args: tuple[Int, ...]


class MoveCall(NamedTuple):
    move_from: Int
    move_to: Int


class JumpFalseCall(NamedTuple):
    cond_value_index: Int
    destination_instruction: Int


class FreeCall(NamedTuple):
    value_index: Int


class Instruction(NamedTuple):
    instr_args: KernelCall | DelegateCall | MoveCall | JumpFalseCall | FreeCall


class Frame(NamedTuple):
    filename: str | None
    lineno: Int
    name: str | None
    context: str | None


class FrameList(NamedTuple):
    items: tuple[Frame, ...]


class BackendDelegateDataReference(NamedTuple):
    location: Byte
    number: UInt


class CompileSpec(NamedTuple):
    key: str
    value: memoryview


class BackendDelegate(NamedTuple):
    id: str
    processed: BackendDelegateDataReference
    compile_specs: tuple[CompileSpec, ...]


class Chain(NamedTuple):
    inputs: tuple[Int, ...] | None
    outputs: tuple[Int, ...] | None
    instructions: tuple[Instruction, ...]
    stacktrace: tuple[FrameList, ...] | None


class NonConstBufferDevice(NamedTuple):
    buffer_idx: Int
    device_type: Byte
    device_index: Byte


class ExecutionPlan(NamedTuple):
    name: str
    container_meta_type: ContainerMetadata
    values: tuple[EValue, ...]
    inputs: tuple[Int, ...]
    outputs: tuple[Int, ...]
    chains: tuple[Chain, ...]
    operators: tuple[Operator, ...]
    delegates: tuple[BackendDelegate, ...]
    non_const_buffer_sizes: tuple[Long, ...]
    non_const_buffer_device: tuple[NonConstBufferDevice, ...] | None


class Buffer(NamedTuple):
    storage: memoryview | None


class BackendDelegateInlineData(NamedTuple):
    data: memoryview


class DataSegment(NamedTuple):
    offset: ULong
    size: ULong


class SubsegmentOffsets(NamedTuple):
    segment_index: UInt
    offsets: tuple[ULong, ...]


class NamedData(NamedTuple):
    key: str
    segment_index: UInt


class Program(NamedTuple):
    version: UInt
    execution_plan: tuple[ExecutionPlan, ...]
    constant_buffer: tuple[Buffer, ...] | None
    backend_delegate_data: tuple[BackendDelegateInlineData, ...] | None
    segments: tuple[DataSegment, ...] | None
    constant_segment: SubsegmentOffsets | None
    mutable_data_segments: tuple[SubsegmentOffsets, ...] | None
    named_data: tuple[NamedData, ...] | None
