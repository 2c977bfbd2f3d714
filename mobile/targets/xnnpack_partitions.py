"""Which delegate computes what: as few bytes as possible are kept from one to the next."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.fx import Node
from torch.fx.passes.infra.partitioner import Partition

__all__ = ["keep_fewer_bytes"]


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
                for each in movable:
                    if each in needed:
                        later.remove_node(each)
                        earlier.add_node(each)


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
    """Return a node and all of a partition that it is computed from."""
    found, open_ = {node}, [node]
    while open_:
        for source in open_.pop().all_input_nodes:
            if source.op != "placeholder" and source in partition.nodes and source not in found:
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
