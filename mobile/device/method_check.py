"""Whether one method of a bundle's program fits together, so that a runtime may load and run it.

Messages continue a sentence that begins with the method's name.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from mobile.device.manifest import MethodInfo
from mobile.device.operators import OPERATORS
from mobile.device.program_schema import (
    BoolValue,
    DelegateCall,
    DoubleValue,
    ExecutionPlan,
    IntList,
    IntValue,
    JumpFalseCall,
    KernelCall,
    Null,
    StringValue,
    Tensor,
    TensorList,
)

__all__ = ["Allowed", "check_method"]

# By ExecuTorch's number: bytes of an element, and the name where a manifest has one.
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 11: 1, 15: 2}
_NAMES = {6: "float32", 4: "int64"}
_VIEW = "executorch_prim::et_view.default"  # gives a tensor the memory of another
_MOST_AXES = 16  # that ExecuTorch's kernels have room for

_KINDS: dict[str, tuple[type, ...]] = {
    "tensor": (Tensor,),
    "out": (Tensor,),
    "tensors": (TensorList,),
    "outs": (TensorList,),
    "int": (IntValue,),
    "float": (DoubleValue,),
    "bool": (BoolValue,),
    "number": (IntValue, DoubleValue, BoolValue),
    "text": (StringValue,),
    "ints": (IntList,),
}
_HANDED = _KINDS | {f"{word}?": (*kinds, Null) for word, kinds in _KINDS.items()}
_VALUES = {kind for kinds in _HANDED.values() for kind in kinds}
_Operator = tuple[str, tuple[str, ...]]  # its name, and the words for what it is handed


class Allowed(NamedTuple):
    """What a method may use: delegates, bytes of planned memory, and the program's constants.

    ``constants`` are the bytes that there are from the beginning of each to the segment's end.
    """

    delegates: Collection[str]
    planned_bytes: int
    constants: Sequence[int]


def check_method(plan: ExecutionPlan, info: MethodInfo, allowed: Allowed) -> None:
    """Check a method.

    Raises:
        ValueError: it uses something else, does not fit together, or takes or gives other tensors
            than ``info`` says.
    """
    for delegate in plan.delegates:
        if delegate.id not in allowed.delegates:
            raise ValueError(
                f"runs in the delegate {delegate.id!r}; "
                f"right are {' and '.join(sorted(allowed.delegates))}"
            )
    operators = [_operator(one.name, one.overload) for one in plan.operators]
    values = [value.val for value in plan.values]
    _check_memory(plan, allowed.planned_bytes)
    views = _check_values(values, plan, allowed.constants)
    _check_signature(values, plan, info)
    if len(plan.chains) != 1:
        raise ValueError(f"has {len(plan.chains)} chains; 1 is right")
    instructions = [one.instr_args for one in plan.chains[0].instructions]
    for number, instruction in enumerate(instructions):
        try:
            if type(instruction) is KernelCall:
                _check_kernel_call(instruction, values, operators, views)
            elif type(instruction) is DelegateCall:
                _check_index(instruction.delegate_index, len(plan.delegates), "delegate")
                _check_indices(instruction.args, values, Tensor)
            elif type(instruction) is JumpFalseCall:
                _check_index(instruction.destination_instruction, number, "instruction")
                _check_indices([instruction.cond_value_index], values, BoolValue)
            else:
                raise ValueError(f"is a {type(instruction).__name__}, which no export writes")
        except ValueError as error:
            raise ValueError(f"has an instruction, number {number}, that {error}") from error


def _operator(name: str, overload: str) -> _Operator:
    full = f"{name}.{overload}" if overload else name
    if full not in OPERATORS:
        raise ValueError(f"calls the operator {full!r}, which no export writes")
    return full, OPERATORS[full]


def _check_memory(plan: ExecutionPlan, most: int) -> None:
    sizes = plan.non_const_buffer_sizes
    if not sizes or sizes[0] or min(sizes) < 0 or sum(sizes) > most:
        raise ValueError(
            f"plans memory of {list(sizes)} bytes; right are 0 and others, at most {most:,} in all"
        )
    if plan.non_const_buffer_device:
        raise ValueError("plans memory on another device than the processor")


def _check_values(values: Sequence[Any], plan: ExecutionPlan, constants: Sequence[int]) -> set[int]:
    """Check values, and return the tensors that have no memory until one is made of another's."""
    given, views = set(plan.inputs), set()
    for number, value in enumerate(values):
        kind = type(value)
        try:
            if kind is Tensor:
                if not _check_tensor(
                    value, plan.non_const_buffer_sizes, constants, number in given
                ):
                    views.add(number)
            elif kind is IntList:
                _check_indices(value.items, values, IntValue)
            elif kind is TensorList:
                _check_indices(value.items, values, Tensor)
            elif kind not in _VALUES:
                raise ValueError(f"is a {kind.__name__}, which no export writes")
        except ValueError as error:
            raise ValueError(f"has a value, number {number}, that {error}") from error
    return views


def _check_indices(indices: Sequence[int], values: Sequence[Any], kind: type) -> None:
    for index in indices:
        if not 0 <= index < len(values) or type(values[index]) is not kind:
            raise ValueError(f"refers to value {index}, which is no {kind.__name__}")


def _check_tensor(
    tensor: Tensor, buffers: Sequence[int], constants: Sequence[int], given: bool
) -> bool:
    """Check a tensor; return whether it has memory: a constant's, planned, or what is ``given``."""
    sizes, axes = tensor.sizes, len(tensor.sizes)
    if tensor.scalar_type not in _SCALARS:
        raise ValueError(f"has elements of kind {tensor.scalar_type}, which no export writes")
    if axes > _MOST_AXES or (axes and min(sizes) < 0):
        raise ValueError(
            f"has the shape {list(sizes)}; right are {_MOST_AXES} lengths of 0 or more, at most"
        )
    if sorted(tensor.dim_order) != list(range(axes)):
        raise ValueError(f"has the order {list(tensor.dim_order)} of its {axes} axes")
    extra = tensor.extra_tensor_info
    if tensor.storage_offset or tensor.layout or tensor.shape_dynamism not in (0, 1):
        raise ValueError("lies in memory as no export writes it")
    if extra and (extra.location or extra.device_type or extra.mutable_data_segments_idx):
        raise ValueError("lies outside of the file or the memory")
    length = math.prod(sizes) * _SCALARS[tensor.scalar_type]
    planned, constant = tensor.allocation_info, tensor.data_buffer_idx
    if (planned is not None) + bool(constant) + given > 1:
        raise ValueError("is two of constant, planned and given to the method")
    if constant and (constant >= len(constants) or length > constants[constant]):
        raise ValueError(f"has {length:,} bytes from constant {constant}, which are not there")
    if planned is not None:
        buffer = planned.memory_id
        start = planned.memory_offset_low + (planned.memory_offset_high << 32)
        if not 0 < buffer < len(buffers) or start + length > buffers[buffer]:
            raise ValueError(
                f"has {length:,} bytes at byte {start:,} of memory {buffer}, which are not there"
            )
    return given or bool(constant) or planned is not None


def _check_signature(values: Sequence[Any], plan: ExecutionPlan, info: MethodInfo) -> None:
    for verb, indices, described in (
        ("takes", plan.inputs, info.inputs),
        ("gives", plan.outputs, info.outputs),
    ):
        _check_indices(indices, values, Tensor)
        tensors = [values[index] for index in indices]
        found = [(_NAMES.get(tensor.scalar_type), tensor.sizes) for tensor in tensors]
        if found != [(tensor.dtype, tensor.shape) for tensor in described]:
            raise ValueError(f"{verb} other tensors than its manifest says")
    if len(set(plan.inputs)) != len(plan.inputs):
        raise ValueError("takes a tensor twice")


def _check_kernel_call(
    call: KernelCall, values: Sequence[Any], operators: Sequence[_Operator], views: set[int]
) -> None:
    """Check a call; of ``views``, one that it makes has memory from then on."""
    _check_index(call.op_index, len(operators), "operator")
    operator, handed = operators[call.op_index]
    if operator == _VIEW:
        views.difference_update(call.args[2:])
    if len(call.args) != len(handed):
        raise ValueError(f"hands {operator} {len(call.args)} values; {len(handed)} are right")
    written = -1
    for index, word in zip(call.args, handed, strict=True):
        if not 0 <= index < len(values) or index in views:
            raise ValueError(f"hands {operator} value {index} of {len(values)}")
        value = values[index]
        if word == "same":
            if index != written:
                raise ValueError(f"hands {operator} value {index} for what it returns")
        elif type(value) not in _HANDED[word]:
            raise ValueError(f"hands {operator} a {type(value).__name__} where {word} is right")
        elif word == "out" or word == "outs":
            written = index
            tensors = [value] if word == "out" else [values[item] for item in value.items]
            if any(tensor.data_buffer_idx for tensor in tensors):
                raise ValueError(f"has {operator} write to a constant")


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ValueError(f"refers to {what} {index} of {count}")
