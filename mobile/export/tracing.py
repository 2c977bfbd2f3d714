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

from cbpnet.method.layout import STATE, SUMS, MethodName, prefixed, unprefixed
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from quantize.aten_decompositions import ATEN_DECOMPOSITIONS
from quantize.rewrite import rewrite_frozen_operators

__all__ = ["Function", "TracedProgram", "bundle_functions", "trace"]

Tensors = dict[str, Tensor]
_Call = Callable[[Mapping[str, Tensor]], Tensors]

_ATEN = torch.ops.aten
_VIEWS = {_ATEN.view.default, _ATEN.reshape.default, _ATEN._unsafe_view.default}


@dataclass(frozen=True)
class Function:
    """A function of named tensors, and tensors of the shapes that it is to be traced with.

    ``differentiates`` is whether it computes gradients.
    """

    name: str
    call: _Call
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


def bundle_functions(
    learner: Learner, state: LearnerState, micro_batch: int, image_size: int
) -> list[Function]:
    """Return every function of a bundle; ``state`` is what its `initial_state` gives.

    What each takes and gives is documented at `Learner`, and in docs/bundle.md.
    """
    dim = learner.backbone.dim
    images = {"images": torch.zeros(micro_batch, 3, image_size, image_size)}
    query = {"query": torch.ones(micro_batch, dim)}
    labels = {"labels": torch.zeros(micro_batch, dtype=torch.int64)}
    states = prefixed(STATE, state)
    sums = prefixed(SUMS, learner.zero_sums())

    def state_of(given: Mapping[str, Tensor]) -> LearnerState:
        return LearnerState(learner.layout, unprefixed(STATE, given))

    makers = {name: _maker(value) for name, value in states.items()}

    def initial_state(given: Mapping[str, Tensor]) -> Tensors:
        return {name: make() for name, make in makers.items()}

    def query_features(given: Mapping[str, Tensor]) -> Tensors:
        return {"query": learner.query(given["images"])}

    def observe(given: Mapping[str, Tensor]) -> Tensors:
        return prefixed(STATE, learner.observe(state_of(given), given["query"], given["labels"]))

    def begin_task(given: Mapping[str, Tensor]) -> Tensors:
        return prefixed(STATE, learner.begin_task(state_of(given), given["task"], given["members"]))

    def predict(given: Mapping[str, Tensor]) -> Tensors:
        kind = learner.config.readout.kind
        found, task = learner.scores(
            state_of(given), given["images"], given["query"], ["none", kind]
        )
        outputs = {"scores": found[kind], "task": task}
        return outputs if kind == "none" else outputs | {"network_scores": found["none"]}

    def gradients(given: Mapping[str, Tensor]) -> Tensors:
        found = learner.gradients(
            state_of(given),
            given["images"],
            given["query"],
            given["labels"],
            unprefixed(SUMS, given),
        )
        return prefixed(SUMS, found)

    def update(given: Mapping[str, Tensor]) -> Tensors:
        found = learner.update(
            state_of(given), unprefixed(SUMS, given), given["noise"], given["rate"]
        )
        return prefixed(STATE, found)

    task = {"task": torch.zeros(1), "members": torch.zeros(learner.classes)}
    step = {"noise": torch.zeros(learner.noise_shape), "rate": torch.ones(1)}
    functions: dict[MethodName, tuple[_Call, Tensors]] = {
        "initial_state": (initial_state, {}),
        "query": (query_features, images),
        "observe": (observe, query | labels | states),
        "begin_task": (begin_task, task | states),
        "predict": (predict, images | query | states),
        "gradients": (gradients, images | query | labels | states | sums),
        "update": (update, step | states | sums),
    }
    return [
        Function(name, call, inputs, differentiates=name == "gradients")
        for name, (call, inputs) in functions.items()
    ]


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
            graph_module = make_fx(positional, ATEN_DECOMPOSITIONS, pre_dispatch=early)(*inputs)
        else:
            graph_module = make_fx(positional)(*inputs)
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

    A copying view does not ask for an order.
    """
    for node in graph_module.graph.nodes:
        if node.target == _ATEN.clone.default:
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
