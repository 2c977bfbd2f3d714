"""Which delegate computes what: few calls, and few bytes that are kept from one to the next."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.fx import Node
from torch.fx.passes.infra.partitioner import Partition

__all__ = ["keep_fewer_bytes", "make_fewer_calls"]


def make_fewer_calls(
    partitions: Sequence[Partition], is_layer: Callable[[Node], bool]
) -> list[Partition]:
    """Return the partitions with a layer in them, as few as moving layers earlier leaves.

    A partitioner may put a layer together with crumbs, though it computes nothing for them: then
    the partition whose results it reads takes it over.
    """
    for later in partitions:
        for earlier in partitions:
            layers = [node for node in later.nodes if is_layer(node)]
            movable = set() if earlier is later else set(_computed_from(earlier, later))
            if layers and movable.issuperset(layers):
                needed = set().union(*(_ancestors(layer, later) for layer in layers))
                _hand_over(later, earlier, needed)
    return [part for part in partitions if any(map(is_layer, part.nodes))]


def keep_fewer_bytes(partitions: Sequence[Partition]) -> None:
    """Move to an earlier partition what it can compute, where fewer bytes are then kept between.

    A partitioner leaves to the backward pass whatever only the backward pass reads, be it computed
    from the forward pass alone: then its inputs are kept, and not the one result.
    """
    for earlier in partitions:
        for later in partitions:
            if earlier is not later:
                _move(earlier, later)


def _move(earlier: Partition, later: Partition) -> None:
    movable = _computed_from(earlier, later)
    for node in movable:
        if node in later.nodes:
            needed = _ancestors(node, later)
            if _crossing(earlier, later, needed) < _crossing(earlier, later, set()):
                _hand_over(later, earlier, needed)


def _hand_over(giver: Partition, taker: Partition, nodes: set[Node]) -> None:
    for node in [each for each in giver.nodes if each in nodes]:
        giver.remove_node(node)
        taker.add_node(node)


def _computed_from(earlier: Partition, later: Partition) -> list[Node]:
    """Return the later partition's nodes that need only the earlier one and the graph's inputs."""
    found: dict[Node, None] = {}
    known = earlier.nodes.keys()
    for node in next(iter(later.nodes)).graph.nodes:
        sources = [source for source in node.all_input_nodes if source.op != "placeholder"]
        if (
            node in later.nodes
            and sources
            and all(source in known or source in found for source in sources)
        ):
            found[node] = None
    return list(found)


def _ancestors(node: Node, partition: Partition) -> set[Node]:
    """Return a node and all of a partition that it is computed from, constants too."""
    found, open_ = {node}, [node]
    while open_:
        for source in open_.pop().all_input_nodes:
            if source in partition.nodes and source not in found:
                found.add(source)
                open_.append(source)
    return found


def _crossing(earlier: Partition, later: Partition, moved: set[Node]) -> int:
    """Return the bytes that the later partition reads of the earlier one, after a move."""
    before = earlier.nodes.keys() | moved
    after = later.nodes.keys() - moved
    read = {source for node in after for source in node.all_input_nodes if source in before}
    return sum(_bytes(source) for source in read if source.op != "placeholder")


def _bytes(node: Node) -> int:
    value = node.meta.get("val")
    return sum(
        math.prod(part.shape) * part.element_size()
        for part in (value if isinstance(value, tuple | list) else [value])
        if isinstance(part, Tensor)
    )
