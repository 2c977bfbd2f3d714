"""A bundle whose prompt tokens are replaced: what its programs take and give more, and compute."""

import pytest
import torch

from cbpnet.backbone.vit import load_backbone
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import (
    AdaptationConfig,
    CBPConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.one_pass import OnePassLearner
from mobile.export.one_pass_functions import one_pass_functions
from mobile.export.tracing import trace
from quantize.trunk import FrozenTrunk

UNITS = ["cbp.prompt_utility", "cbp.prompt_age", "cbp.prompt_accumulator"]
STATE = [f"state.{name}" for name in UNITS]
ADAPTATION = [f"adaptation.{name}" for name in UNITS]
MORE = {
    "begin_task": (STATE, ADAPTATION),
    "gradients": (["sums.attention"], ["sums.attention"]),
    "update": (["noise", *ADAPTATION, "sums.attention"], ADAPTATION),
}


def functions(rate):
    torch.manual_seed(0)
    trunk = FrozenTrunk(load_backbone("vit_micro_patch8_32", pretrained=False), "int8")
    config = LearnerConfig(
        PromptConfig((0, 1), 3, (), replacement_rate=rate),
        cbp=CBPConfig(maturity=1),
        readout=ReadoutConfig("whitened"),
        adaptation=AdaptationConfig("auto"),
    )
    learner = OnePassLearner(trunk, config, 4)
    state = learner.initial_state(RandomStream(0, 0))
    return {each.name: each for each in one_pass_functions(learner, state, 2, 32)}


@pytest.mark.parametrize("name", MORE)
def test_a_program_takes_and_gives_the_tokens_statistics_and_nothing_at_rate_zero(name):
    function = functions(0.3)[name]
    traced, plain = trace(function), trace(functions(0.0)[name])
    takes, gives = MORE[name]
    assert set(traced.inputs) - set(plain.inputs) == set(takes)
    assert set(traced.outputs) - set(plain.outputs) == set(gives) - set(plain.outputs)
    assert set(gives) <= set(traced.outputs)
    generator = torch.Generator().manual_seed(1)
    given = {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in function.inputs.items()
    }
    answers = traced.program.module()(*(given[key] for key in traced.inputs))
    expected = function.call(given)
    for key, answer in zip(traced.outputs, answers, strict=True):
        torch.testing.assert_close(answer, expected[key], rtol=1e-5, atol=1e-6)
