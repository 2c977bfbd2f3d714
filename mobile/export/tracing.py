"""The programs of a bundle: a learner's functions as traced graphs of named tensors.

ExecuTorch passes tensors by position. Here each function takes and gives tensors by name, a trace
fixes their order, and whatever a function does not read or does not change is left out of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from quantize.aten_decompositions import ATEN_DECOMPOSITIONS
from quantize.inversion import INVERSE_DECOMPOSITION
from quantize.rewrite import rewrite_frozen_operators

__all__ = ["Call", "Function", "Tensors", "TracedProgram", "makes", "trace"]

Tensors = dict[str, Tensor]
Call = Callable[[Mapping[str, Tensor]], Tensors]

_ATEN = torch.ops.aten
_VIEWS = {_ATEN.view.default, _ATEN.reshape.default, _ATEN._unsafe_view.default}


@dataclass(frozen=True)
class Function:
    """A function of named tensors, and tensors of the shapes that it is to be traced with.

    ``differentiates`` is whether it computes gradients.
    """

    name: str
    call: Call
    inputs: Tensors
    differentiates: bool = False


@dataclass(frozen=True)
class TracedProgram:
    """An exported graph; ``inputs`` and ``outputs`` name and describe its tensors in order.

    ``frozen_layers`` is the number of frozen linear layers in it, both directions counted; in
    ``plain`` programs PyTorch's own operators stand in their place.
    """

    name: str
    program: ExportedProgram
    inputs: Tensors
    outputs: Tensors
    frozen_layers: int
    plain: bool = False


def trace(function: Function, plain: bool = False) -> TracedProgram:
    """Trace a function without its numbers, put the frozen layers into form, and export it.

    The graph of a function that differentiates is forward and backward pass in one. A ``plain``
    program holds no operators of ours, for a target that knows none.
    """
    names = list(function.inputs)
    found: list[str] = []

    def positional(*values: Tensor) -> list[Tensor]:
        outputs = function.call(dict(zip(names, values, strict=True)))
        found[:] = outputs
        return list(outputs.values())

    without_numbers = FakeTensorMode(allow_non_fake_inputs=True)  # the frozen weights keep theirs
    with without_numbers:
        inputs = [without_numbers.from_tensor(value) for value in function.inputs.values()]
        if plain:  # before dispatch a linear layer is one operator, and nothing is differentiated
            early = not function.differentiates
            own = ATEN_DECOMPOSITIONS | INVERSE_DECOMPOSITION
            graph_module = make_fx(positional, own, pre_dispatch=early)(*inputs)
        else:
            graph_module = make_fx(positional, INVERSE_DECOMPOSITION)(*inputs)
    layers = rewrite_frozen_operators(graph_module)
    if plain:
        _drop_copies(graph_module)
    read, outputs = _drop_unused(graph_module, names, found)
    program = torch.export.export(
        graph_module, tuple(function.inputs[name] for name in read), strict=False
    )
    results = [node.meta["val"] for node in _results(graph_module)]
    return TracedProgram(
        function.name,
        program,
        {name: function.inputs[name] for name in read},
        dict(zip(outputs, results, strict=True)),
        layers,
        plain,
    )


def _drop_copies(graph_module: GraphModule) -> None:
    """Drop copies into another order of memory: on a device there is but one, and they cut it.

    A copying view does not ask for an order. A copy of what is given is a result of its own.
    """
    for node in graph_module.graph.nodes:
        if node.target == _ATEN.clone.default and node.all_input_nodes[0].op != "placeholder":
            node.replace_all_uses_with(node.all_input_nodes[0])
        elif node.target in _VIEWS:
            node.target = _ATEN.view_copy.default


def _drop_unused(
    graph_module: GraphModule, inputs: list[str], outputs: list[str]
) -> tuple[list[str], list[str]]:
    """Drop outputs that are inputs unchanged, then inputs that nothing reads; return the names."""
    graph = graph_module.graph
    changed = [
        (name, node)
        for name, node in zip(outputs, _results(graph_module), strict=True)
        if node.op != "placeholder"
    ]
    graph.output_node().args = ([node for _, node in changed],)
    graph.eliminate_dead_code()
    read = []
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for name, node in zip(inputs, placeholders, strict=True):
        if node.users:
            read.append(name)
        else:
            graph.erase_node(node)
    graph_module.recompile()
    return read, [name for name, _ in changed]


def _results(graph_module: GraphModule) -> list[Node]:
    """Return the nodes that a graph gives."""
    results: Any = graph_module.graph.output_node().args[0]
    return list(results)


def makes(tensors: Mapping[str, Tensor]) -> Call:
    """Return a function that takes nothing and gives these tensors."""
    makers = {name: _maker(value) for name, value in tensors.items()}
    return lambda given: {name: make() for name, make in makers.items()}


def _maker(value: Tensor) -> Callable[[], Tensor]:
    """Return what makes a tensor's values: a computation where they are one number or a diagonal.

    A state that has learnt nothing is mostly that, and need not lie in the file.
    """
    first = value.flatten()[0].item() if value.numel() else 0.0
    if value.eq(first).all():
        return lambda: torch.full(value.shape, first)
    if value.dim() == 2 and value.equal(first * torch.eye(*value.shape)):
        rows, columns = value.shape
        return lambda: first * (torch.arange(rows).unsqueeze(1) == torch.arange(columns)).float()
    return lambda: value.clone()
