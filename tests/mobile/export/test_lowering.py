"""What is lowered where: delegates, what is outside of them, and frozen layers that are not in."""

import pytest
import torch
from executorch.exir.backend.partitioner import Partitioner, PartitionResult

from cbpnet.host.errors import InputError
from cbpnet.method.learner import Learner
from cbpnet.method.tensors import as_tensors
from mobile.export.bundle_learner import bundle_functions
from mobile.export.lowering import lower
from mobile.export.tracing import Function, trace
from mobile.targets.xnnpack import Backend
from quantize.frozen_linear import FrozenLinear
from quantize.trunk import FrozenTrunk

FEATURES, HIDDEN, BATCH = 8, 5, 3


class TakesNothing(Partitioner):
    """A partitioner that leaves everything to the CPU kernels."""

    def partition(self, exported_program):
        return PartitionResult(tagged_exported_program=exported_program, partition_tags={})


def layer_and_head(precision):
    """A frozen layer, then a product with a tensor that is given: what learns."""
    torch.manual_seed(0)
    layer = FrozenLinear(torch.randn(HIDDEN, FEATURES), torch.randn(HIDDEN), precision)

    def call(given):
        return {"scores": layer(given["x"]) @ given["head"]}

    inputs = {"x": torch.zeros(BATCH, FEATURES), "head": torch.zeros(HIDDEN, 2)}
    return trace(Function("f", call, inputs))


def gradient_alone(precision):
    """The backward direction without the forward one."""
    torch.manual_seed(0)
    layer = FrozenLinear(torch.randn(HIDDEN, FEATURES), None, precision)

    def call(given):
        x = given["x"].detach().requires_grad_()
        (found,) = torch.autograd.grad((layer(x) * given["y"]).sum(), x)
        return {"gradient": found}

    inputs = {"x": torch.zeros(BATCH, FEATURES), "y": torch.zeros(BATCH, HIDDEN)}
    return trace(Function("f", call, inputs))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_frozen_layers_go_to_the_delegate_and_what_learns_stays_outside(precision):
    lowered = lower([layer_and_head(precision)], Backend().partitioner)
    found = lowered.delegation["f"]
    assert found.delegate_calls == 1
    assert found.undelegated == {"mm": 1}
    head = BATCH * 2 * HIDDEN
    assert found.arithmetic == {"mm": head}
    rounding = 0 if precision == "fp32" else found.total - head - BATCH * HIDDEN * FEATURES
    assert found.total == head + BATCH * HIDDEN * FEATURES + rounding
    assert rounding < 10 * (BATCH * FEATURES + HIDDEN * FEATURES)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("make", [layer_and_head, gradient_alone])
def test_a_frozen_layer_outside_the_delegates_is_refused(make, precision):
    with pytest.raises(InputError, match="of the method 'f' was left outside the delegates"):
        lower([make(precision)], TakesNothing)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_trunk_outside_the_delegates_is_refused(small_backbone, server, precision):
    learner = Learner(FrozenTrunk(small_backbone, precision), server.info.config, 6, 3)
    functions = {
        part.name: part for part in bundle_functions(learner, as_tensors(server.grown), 2, 16)
    }
    with pytest.raises(InputError, match="of the method 'query' was left outside"):
        lower([trace(functions["query"])], TakesNothing)


def test_a_plain_trunk_outside_the_delegates_is_refused(small_backbone, server):
    learner = Learner(FrozenTrunk(small_backbone, "fp32"), server.info.config, 6, 3)
    functions = {
        part.name: part for part in bundle_functions(learner, as_tensors(server.grown), 2, 16)
    }
    plain = trace(functions["query"], plain=True)
    assert plain.frozen_layers == 0
    with pytest.raises(
        InputError, match=r"100\.0 % of the arithmetic of the method 'query' was left"
    ):
        lower([plain], TakesNothing, TakesNothing)
    assert lower([plain], TakesNothing).delegation["query"].delegate_calls == 0


def test_a_program_without_frozen_layers_asks_for_no_partitioner():
    def forbidden():
        raise AssertionError("nothing to delegate")

    function = Function("f", lambda given: {"y": given["x"] @ given["x"]}, {"x": torch.eye(4)})
    found = lower([trace(function)], forbidden).delegation["f"]
    assert (found.delegate_calls, found.undelegated, found.total) == (0, {"mm": 1}, 64)


def test_arithmetic_of_products_and_of_the_rest():
    def call(given):
        a, b, c = given["a"], given["b"], given["c"]
        return {"mm": a @ b, "bmm": torch.bmm(c, c), "sum": torch.addmm(a @ b, a, b), "add": a + a}

    inputs = {"a": torch.zeros(2, 3), "b": torch.zeros(3, 4), "c": torch.zeros(5, 6, 6)}
    found = lower([trace(Function("f", call, inputs))], TakesNothing).delegation["f"]
    assert found.arithmetic == {"bmm": 5 * 6 * 6 * 6, "mm": 2 * 24, "addmm": 24, "add": 6}
    assert found.total == sum(found.arithmetic.values())
    assert found.undelegated == {"bmm": 1, "mm": 2, "addmm": 1, "add": 1}
    assert list(found.undelegated) == list(found.arithmetic)  # the largest first


def test_arithmetic_of_an_inverse_is_that_of_all_its_steps():
    size, block = 192, 64

    def call(given):
        return {"inverse": torch.linalg.inv_ex(given["a"]).inverse}

    found = lower([trace(Function("f", call, {"a": torch.eye(size)}))], TakesNothing)
    arithmetic = found.delegation["f"].arithmetic
    sweep = size * block * (block + size)  # of one of the three blocks of rows
    root = 3 * 20 * block**3
    assert arithmetic["scan"] == pytest.approx(3 * (sweep + root), rel=0.05)
    assert "mm" not in arithmetic  # beside the steps there are no products


def test_lowering_is_quiet(recwarn, capfd):
    lowered = lower([layer_and_head("int8")], Backend().partitioner)
    lowered.serialise()
    shown = [one for one in recwarn if not issubclass(one.category, DeprecationWarning)]
    assert [str(warning.message) for warning in shown] == []
    assert capfd.readouterr().err == ""
