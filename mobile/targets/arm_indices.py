"""What of a method is left to the CPU by Arm's partitioners."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.passes.operator_support import OperatorSupportBase

__all__ = ["NoIndices"]


class NoIndices(OperatorSupportBase):
    """Leaves indices to the CPU: where a program has 64 bits for them, TOSA has 32."""

    def is_node_supported(self, submodules: Mapping[str, Any], node: Node) -> bool:
        """Return whether neither the node nor what is computed for it is of 64 bits."""
        computed = [given for given in node.all_input_nodes if given.op == "call_function"]
        values = [each.meta.get("val") for each in (node, *computed)]
        return all(v.dtype != torch.int64 for v in values if isinstance(v, Tensor))
