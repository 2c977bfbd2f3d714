"""The backward direction in XNNPACK: its numbers, and each weight in the file once."""

import hashlib
import importlib

import pytest
import torch

from mobile.export.lowering import lower
from mobile.export.tracing import Function, trace
from mobile.targets.xnnpack import Backend
from quantize.frozen_linear import FrozenLinear

WIDTH, HIDDEN, TOKENS = 96, 160, 5


def perceptron(precision):
    """Two frozen layers, whose channels have scales of their own, and something between them."""
    generator = torch.Generator().manual_seed(0)

    def layer(outputs, inputs):
        spread = torch.logspace(-1.5, 1.5, outputs).unsqueeze(1)
        weight = torch.randn(outputs, inputs, generator=generator) * spread / 300
        return FrozenLinear(weight, torch.randn(outputs, generator=generator), precision)

    return [layer(HIDDEN, WIDTH), torch.exp, layer(WIDTH, HIDDEN)]


def learning_step(layers):
    def call(given):
        x = given["x"].detach().requires_grad_()
        output = x
        for layer in layers:
            output = layer(output)
        (found,) = torch.autograd.grad(output, x, given["y"])
        return {"output": output, "gradient": found}

    inputs = {"x": torch.zeros(2, TOKENS, WIDTH), "y": torch.zeros(2, TOKENS, WIDTH)}
    return trace(Function("step", call, inputs))


def lowered_step(layers):
    """Both directions in one delegate, where a weight's bytes are two tensors with scales apart."""
    lowered = lower([learning_step(layers)], Backend().partitioner)
    assert lowered.delegation["step"].delegate_calls == 1
    return lowered.serialise()


def run(program, *inputs):
    runtime = importlib.import_module("executorch.extension.pybindings._portable_lib")
    loaded = runtime._load_program_from_buffer(program)
    return loaded.load_method("step").call(list(inputs))


@pytest.mark.parametrize(("precision", "most"), [("int8", 0.02), ("fp32", 1e-5)])
def test_a_gradient_is_the_dequantised_weights_in_fp64(precision, most):
    layers = perceptron(precision)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 2, TOKENS, WIDTH, generator=generator)
    y = y * torch.logspace(-9, 0, TOKENS).unsqueeze(1)  # a token's gradient, small beside another's
    output, gradient = run(lowered_step(layers), x, y)

    exact = x.double().requires_grad_()
    hidden = exact
    for layer in layers:
        if isinstance(layer, FrozenLinear):
            weight = layer.weight.double()
            if layer.scale is not None:
                weight = weight * layer.scale.unsqueeze(1)
            hidden = hidden @ weight.T + layer.bias.double()
        else:
            hidden = layer(hidden)
    (expected,) = torch.autograd.grad(hidden, exact, y.double())
    for found, right in ((output, hidden.detach()), (gradient, expected)):
        error = (found - right).norm(dim=-1) / right.norm(dim=-1)
        assert error.max() < most, error


@pytest.mark.parametrize(("precision", "byte"), [("int8", 1), ("fp32", 4)])
def test_the_file_holds_each_weight_once_for_both_directions(precision, byte):
    layers = perceptron(precision)
    program = lowered_step(layers)
    for layer in (layers[0], layers[2]):
        assert program.count(layer.weight.numpy().tobytes()) == 1
        assert program.count(layer.weight.T.contiguous().numpy().tobytes()) == 0
    weights = 2 * WIDTH * HIDDEN * byte
    assert weights < len(program) < weights + 24_000


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_each_direction_has_a_name_of_its_own_for_the_weight(precision):
    """A cache of packed weights would otherwise take the one direction's for the other's."""
    layers = perceptron(precision)
    program = lowered_step(layers)
    for layer in (layers[0], layers[2]):
        name = hashlib.sha256(layer.weight.numpy().tobytes()).hexdigest().encode()
        assert b"transposed_" + name in program
        assert name in program.replace(b"transposed_" + name, b"")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_delegate_holds_no_constants_but_those_that_are_packed(precision):
    """Android's runtime frees the others before they are read."""
    lowered = lower(
        [learning_step(perceptron(precision))],
        Backend().partitioner,
    )
    module = lowered.edge.exported_program("step").graph_module
    (delegate,) = [part for name, part in module.named_children() if "lowered" in name]
    program = delegate.original_module
    signature = program.graph_signature
    constants = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    nodes = [node for node in program.graph.nodes if node.name in constants]
    assert len(nodes) >= 4  # two weights and biases
    readers = {str(user.target) for node in nodes for user in node.users}
    scales = [node for node in nodes if node.meta["val"].dim() == 1]
    assert all("frozen_linear" in reader for reader in readers), readers
    assert not any("transposed" in str(user.target) for node in scales for user in node.users)
