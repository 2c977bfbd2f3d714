"""What goes between arrays and tensors stays as it is, in the same memory."""

import numpy as np
import torch

from cbpnet.method.state import HostState, LearnerState
from cbpnet.method.tensors import array_of, as_arrays, as_tensors, tensor_of

LAYOUT = {"b": (2, 3), "a": (4,)}


def test_an_array_and_its_tensor_share_memory():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = tensor_of(array)
    assert tensor.tolist() == array.tolist()
    back = array_of(tensor)
    array[1, 2] = 9
    assert tensor[1, 2] == back[1, 2] == 9


def test_an_array_is_without_gradient_and_contiguous():
    tensor = torch.randn(2, 3, requires_grad=True)
    array = array_of(tensor.mT)
    np.testing.assert_array_equal(array, tensor.detach().numpy().T)
    assert array.flags.c_contiguous


def test_a_state_goes_over_and_back_with_its_layout():
    state = HostState(LAYOUT, {"b": np.ones((2, 3), np.float32), "a": np.zeros(4, np.float32)})
    tensors = as_tensors(state)
    back = as_arrays(tensors)
    assert (type(tensors), type(back)) == (LearnerState, HostState)
    assert tensors.layout == back.layout == LAYOUT
    for name, value in state.items():
        assert np.shares_memory(value, tensors[name].numpy())
        assert np.shares_memory(value, back[name])
