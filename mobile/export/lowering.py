"""From traced programs to one ExecuTorch program, and what of each method runs where."""

import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from executorch.exir import (
    EdgeCompileConfig,
    EdgeProgramManager,
    ExecutorchBackendConfig,
    to_edge_transform_and_lower,
)
from executorch.exir.backend.partitioner import Partitioner
from executorch.exir.passes import MemoryPlanningPass
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from cbpnet.host.errors import InputError
from mobile.export.tracing import TracedProgram

__all__ = ["Delegation", "Lowered", "lower"]

_DELEGATE = "executorch_call_delegate"
# They compute nothing.
_FREE = {"getitem", "view_copy", "alias_copy", "clone"}
_FROZEN = ("frozen_linear", "frozen_linear_transposed")
_CRUMB = 0.01  # of a plain method's arithmetic may be outside the delegates


@dataclass(frozen=True)
class Delegation:
    """Where a method's arithmetic runs.

    ``undelegated`` counts the operators outside the delegates, ``arithmetic`` is theirs by name,
    and ``total`` the whole method's: the multiply-accumulates of matrix products, and one for each
    element that any other operator gives. A scan's is that of all its steps.
    """

    delegate_calls: int
    undelegated: dict[str, int]
    arithmetic: dict[str, int]
    total: int


@dataclass(frozen=True)
class Lowered:
    """Programs for a target, and each method's delegation."""

    edge: EdgeProgramManager
    delegation: dict[str, Delegation]

    def serialise(self) -> bytes:
        """Return the bytes of the ExecuTorch program."""
        with _quiet():
            program: bytes = self.edge.to_executorch(_BUFFERS).buffer
        return program


# The frozen layers are operators of ours, which the validity check does not know; dimension
# orders are all the usual one, and tracking them would leave copies in the graph.
_EDGE = EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True)

# A method reads what it takes where the host has it: a state of megabytes is not copied.
_BUFFERS = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))


def lower(
    programs: Sequence[TracedProgram],
    partitioner: Callable[[], Partitioner],
    plain_partitioner: Callable[[], Partitioner] | None = None,
    plain_passes: Callable[[ExportedProgram], Sequence[Any]] = lambda program: (),
) -> Lowered:
    """Lower programs; those with frozen layers through the partitioner, the rest to CPU kernels.

    ``plain_partitioner`` is for plain programs, which another backend than the others' runs;
    without one they are lowered to CPU kernels. ``plain_passes`` gives what these go through first.

    Raises:
        InputError: a frozen layer, or much of what another backend is to run, was left outside the
            delegates.
    """
    chosen = {program.name: [partitioner()] for program in programs if program.frozen_layers}
    if plain_partitioner is not None:
        chosen |= {program.name: [plain_partitioner()] for program in programs if program.plain}
    passes = {
        program.name: list(plain_passes(program.program)) if program.plain else []
        for program in programs
    }
    with _quiet():
        edge = to_edge_transform_and_lower(
            {program.name: program.program for program in programs},
            transform_passes=passes if any(passes.values()) else None,
            partitioner=chosen,
            compile_config=_EDGE,
        )
    delegation = {}
    for program in programs:
        lowered = edge.exported_program(program.name)
        _check_frozen(program.name, lowered)
        delegation[program.name] = _delegation(lowered)
        if program.plain and plain_partitioner is not None:
            _check_plain(program.name, delegation[program.name])
    return Lowered(edge, delegation)


# What the exporters' own code does, by the warnings that torch and ExecuTorch give for it.
_HABITS: dict[str, type[Warning]] = {
    r"`isinstance\(treespec, LeafSpec\)` is deprecated": FutureWarning,
    r"[gs]et_output_order_workaround\(\) is deprecated": DeprecationWarning,
    r"erase_node\(.*\) on an already erased node": UserWarning,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what exporters say: of their own use of torch, dozens of times, and of progress."""
    silent = StringIO()
    with warnings.catch_warnings(), redirect_stderr(silent), redirect_stdout(silent):
        for message, category in _HABITS.items():
            warnings.filterwarnings("ignore", message, category)
        yield


def _delegation(lowered: ExportedProgram) -> Delegation:
    calls, count, arithmetic, total = 0, Counter[str](), Counter[str](), 0
    for node in lowered.graph.nodes:
        name = _operator(node)
        if name == _DELEGATE:
            calls += 1
            delegate = getattr(lowered.graph_module, node.args[0].target)
            total += sum(map(_arithmetic, delegate.original_module.graph.nodes))
        elif name is not None:
            count[name] += 1
            arithmetic[name] += _arithmetic(node)
    ordered = dict(arithmetic.most_common())
    total += sum(ordered.values())
    return Delegation(calls, {name: count[name] for name in ordered}, ordered, total)


def _operator(node: Node) -> str | None:
    """Return an operator's name without name space and overload, None for what computes nothing."""
    if node.op != "call_function" or node.target is operator.getitem:
        return None
    # "executorch_call_delegate", "mm.default" or, after lowering, "aten.mm.default"
    parts = getattr(node.target, "__name__", "").split(".")
    name = parts[-2] if len(parts) > 1 else parts[0]
    return None if name in _FREE else name


def _arithmetic(node: Node) -> int:
    name = _operator(node)
    if name is None or name == _DELEGATE:
        return 0
    if name == "scan":
        return _scanned(node)
    value = node.meta.get("val")
    elements = sum(v.numel() for v in _tensors(value))
    if name in ("mm", "bmm", "linear", *_FROZEN):
        return elements * int(_shape(node.args[0])[-1])
    return elements * int(_shape(node.args[1])[-1]) if name == "addmm" else elements


def _scanned(node: Node) -> int:
    """Return the arithmetic of a scan, whose steps go along the first axis of what it is given."""
    arguments: Any = node.args
    step, _, (given, *_), *_ = arguments
    body: GraphModule = getattr(node.graph.owning_module, step.target)
    return int(_shape(given)[0]) * sum(map(_arithmetic, body.graph.nodes))


def _tensors(value: Any) -> list[Tensor]:
    values = value if isinstance(value, tuple | list) else [value]
    return [v for v in values if isinstance(v, Tensor)]


def _shape(node: Any) -> torch.Size:
    shape: torch.Size = node.meta["val"].shape
    return shape


def _check_frozen(method: str, lowered: ExportedProgram) -> None:
    """Raise `InputError` where a frozen layer is left outside the delegates."""
    constants = _constants(lowered)
    for node in lowered.graph.nodes:
        if _operator(node) in _FROZEN:
            weight = constants[node.args[1].name]
            raise InputError(
                f"the frozen layer {weight} of the method {method!r} was left outside the "
                "delegates; it would be slow, so nothing is written"
            )


def _check_plain(method: str, found: Delegation) -> None:
    """Raise `InputError` where more than a crumb of the arithmetic is outside the delegates."""
    outside = sum(found.arithmetic.values())
    if outside > _CRUMB * found.total:
        raise InputError(
            f"{100 * outside / found.total:.1f} % of the arithmetic of the method {method!r} was "
            f"left outside the delegates, most of it {next(iter(found.arithmetic))}; it would be "
            "slow, so nothing is written"
        )


def _constants(program: ExportedProgram) -> Mapping[str, str]:
    """Return what the graph's inputs that are constants stand for, by the input's name."""
    signature = program.graph_signature
    return {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
