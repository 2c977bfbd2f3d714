"""What delegates compute and what crosses between them, on graphs small enough to count by hand."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.infra.partitioner import Partition

from mobile.targets.xnnpack_partitions import keep_fewer_bytes, make_fewer_calls


def _partitions(
    function: Callable[..., list[Tensor]], forward: set[str], *inputs: Tensor
) -> tuple[Partition, Partition]:
    """A function's forward pass, the nodes of these names, and the rest but for each cosine."""
    nodes = [n for n in make_fx(function)(*inputs).graph.nodes if n.op == "call_function"]
    assert forward <= {node.name for node in nodes}
    first, second = Partition(0), Partition(1)
    for node in reversed(nodes):  # in no order that helps
        if not node.name.startswith("cos"):
            (first if node.name in forward else second).add_node(node)
    return first, second


def _names(partition: Partition) -> set[str]:
    return {node.name for node in partition.nodes}


def _read(by: Partition, of: Partition) -> set[Node]:
    return {s for node in by.nodes for s in node.all_input_nodes if s in of.nodes}


def test_one_slope_is_kept_in_place_of_the_two_it_is_computed_from() -> None:
    def function(x: Tensor, gradient: Tensor) -> list[Tensor]:
        y = torch.exp(x)  # forward, with its result
        z = torch.tanh(y)
        slope = (y * z + y) / 3
        return [z, torch.cos(gradient) * slope]

    first, second = _partitions(function, {"exp", "tanh"}, torch.ones(5), torch.ones(5))
    assert len(_read(second, first)) == 2
    keep_fewer_bytes([second, first])
    assert _names(first) == {"exp", "tanh", "mul", "add"}
    assert _names(second) == {"div", "mul_1"}
    assert [node.name for node in _read(second, first)] == ["add"]


def test_half_a_precision_is_kept_and_not_what_is_made_of_it() -> None:
    def function(x: Tensor, gradient: Tensor) -> list[Tensor]:
        y = torch.exp(x)
        return [y, torch.cos(gradient) * torch.sin(y).half().float()]

    first, second = _partitions(function, {"exp"}, torch.ones(5), torch.ones(5))
    keep_fewer_bytes([first, second])
    assert [node.meta["val"].dtype for node in _read(second, first)] == [torch.float16]
    assert "mul" in _names(second)


def test_a_part_is_kept_in_place_of_the_whole() -> None:
    def function(x: Tensor, gradient: Tensor) -> list[Tensor]:
        y = torch.exp(x)
        return [y, torch.cos(gradient) * y[:2]]

    first, second = _partitions(function, {"exp"}, torch.ones(5), torch.ones(2))
    keep_fewer_bytes([first, second])
    assert _names(second) == {"mul"}


def test_what_would_be_kept_beside_its_source_stays() -> None:
    def function(x: Tensor, gradient: Tensor) -> list[Tensor]:
        y = torch.exp(x)
        gradient = torch.cos(gradient)
        return [y, gradient * y, gradient * torch.sin(y)]

    first, second = _partitions(function, {"exp"}, torch.ones(5), torch.ones(5))
    keep_fewer_bytes([first, second])
    assert _names(first) == {"exp"}


def test_what_is_as_large_as_its_source_stays() -> None:
    def function(x: Tensor, gradient: Tensor) -> list[Tensor]:
        y = torch.exp(x)
        return [y, torch.cos(gradient) * torch.sin(y)]

    first, second = _partitions(function, {"exp"}, torch.ones(5), torch.ones(5))
    keep_fewer_bytes([first, second])
    assert _names(second) == {"sin", "mul"}


def test_what_needs_the_second_partition_or_a_value_of_neither_stays() -> None:
    def function(x: Tensor, gradient: Tensor) -> list[Tensor]:
        y, z = torch.exp(x), torch.tanh(x)
        outside = torch.cos(gradient)
        return [y, z, outside * 2 + y + z, y * torch.cos(x) + z]

    first, second = _partitions(function, {"exp", "tanh"}, torch.ones(5), torch.ones(5))
    before = _names(second)
    keep_fewer_bytes([first, second])
    assert _names(second) == before


def _is_layer(node: Node) -> bool:
    return node.name.startswith("sin")


def test_a_layer_among_crumbs_goes_to_what_it_reads() -> None:
    def function(x: Tensor) -> list[Tensor]:
        y = torch.sin(x) * 2
        return [torch.cos(y) + 1, torch.sin(y * 3) * 4]

    first, second = _partitions(function, {"sin", "mul"}, torch.ones(5))
    assert _names(second) == {"add", "mul_1", "sin_1", "mul_2"}
    assert make_fewer_calls([second, first], _is_layer) == [first]
    assert _names(first) == {"sin", "mul", "mul_1", "sin_1"}


def test_a_layer_that_waits_for_the_cpu_keeps_its_partition() -> None:
    def function(x: Tensor) -> list[Tensor]:
        y = torch.sin(x)
        return [torch.sin(torch.cos(y)), torch.sin(y)]

    first, second = _partitions(function, {"sin"}, torch.ones(5))
    assert make_fewer_calls([second, first], _is_layer) == [second, first]
    assert _names(second) == {"sin_1", "sin_2"}


def test_partitions_without_a_layer_are_left_out() -> None:
    first, second = _partitions(lambda x: [torch.exp(torch.sin(x))], {"exp"}, torch.ones(5))
    assert make_fewer_calls([first, second], _is_layer) == [second]
