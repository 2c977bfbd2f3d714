"""Half precision between two delegates: its numbers, and what it takes of memory."""

import importlib

import pytest
import torch

from mobile.export.lowering import lower
from mobile.export.tracing import Function, trace
from mobile.targets.xnnpack import Backend
from quantize.activations import gelu
from quantize.frozen_linear import FrozenLinear

WIDTH, HIDDEN, TOKENS = 16, 4096, 5


def lowered_step(halves):
    """A layer, GELU and the way back, with something between them that no delegate takes."""
    generator = torch.Generator().manual_seed(0)
    layer = FrozenLinear(torch.randn(HIDDEN, WIDTH, generator=generator), None, "fp32")

    def call(given):
        x = given["x"].detach().requires_grad_()
        output = gelu(layer(x), halves)
        (found,) = torch.autograd.grad(output, x, torch.erf(output.detach()))
        return {"gradient": found}

    traced = trace(Function("step", call, {"x": torch.zeros(1, TOKENS, WIDTH)}))
    lowered = lower([traced], Backend().partitioner)
    assert lowered.delegation["step"].delegate_calls == 2
    assert set(lowered.delegation["step"].undelegated) == {"erf"}

    def exact(x):
        x = x.double().requires_grad_()
        output = torch.nn.functional.gelu(x @ layer.weight.double().T)
        (gradient,) = torch.autograd.grad(output, x, torch.erf(output.detach()))
        return gradient

    return lowered.serialise(), exact


@pytest.mark.parametrize(("halves", "least", "most"), [(False, 0, 1e-6), (True, 1e-5, 1e-3)])
def test_gradients_are_fp64s_within_what_is_kept(halves, least, most):
    program, exact = lowered_step(halves)
    runtime = importlib.import_module("executorch.extension.pybindings._portable_lib")
    loaded = runtime._load_program_from_buffer(program)
    x = torch.randn(1, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    (found,) = loaded.load_method("step").call([x])
    right = exact(x)
    assert least <= (found.double() - right).norm() / right.norm() < most
