"""Arrays of a host as tensors of the learner's pure functions, and back, in shared memory."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.host.arrays import Array
from cbpnet.method.state import HostState, LearnerState

__all__ = ["array_of", "arrays_of", "as_arrays", "as_tensors", "tensor_of", "tensors_of"]


def tensor_of(array: Array) -> Tensor:
    """Return an array as a tensor."""
    return torch.from_numpy(array)


def array_of(tensor: Tensor) -> Array:
    """Return a tensor as an array, without its gradient."""
    array: Array = tensor.detach().contiguous().numpy()
    return array


def tensors_of(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return named arrays as tensors."""
    return {name: tensor_of(array) for name, array in arrays.items()}


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return named tensors as arrays."""
    return {name: array_of(tensor) for name, tensor in tensors.items()}


def as_tensors(state: HostState) -> LearnerState:
    """Return a host's state as the learner's pure functions take it."""
    return LearnerState(state.layout, tensors_of(state))


def as_arrays(state: LearnerState) -> HostState:
    """Return what the learner's pure functions gave as a host's state."""
    return HostState(state.layout, arrays_of(state))
