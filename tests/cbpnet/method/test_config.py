import dataclasses
import math

import pytest

from cbpnet.host.errors import InputError
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    CBPConfig,
    HeadConfig,
    LearnerConfig,
    OptimiserConfig,
    PromptConfig,
    ReadoutConfig,
)

GROUPS = {
    "prompts": PromptConfig(),
    "block": BlockConfig(8),
    "cbp": CBPConfig(),
    "head": HeadConfig(),
    "optimiser": OptimiserConfig(),
    "readout": ReadoutConfig(),
    "adaptation": AdaptationConfig(),
}

OUT_OF_RANGE = {
    "prompts.g_layers": [(0, 2), (0, 0), (-1,)],
    "prompts.e_layers": [(3, 3), (-2, 3)],
    "prompts.g_length": [0, -3],
    "prompts.e_length": [0, -3],
    "prompts.init_range": [-0.1, math.nan, math.inf],
    "prompts.key_weight": [-1.0, math.nan, math.inf],
    "prompts.replacement_rate": [-1e-9, 1.001, math.nan, 1e-3],  # beside a block
    "block.hidden": [0, -1],
    "block.objective": ["ridge", ""],
    "block.activation": ["gelu", "ReLU"],
    "block.gate": [0.0, -0.5, 1.01, math.nan],
    "cbp.replacement_rate": [-1e-9, 1.001, math.nan],
    "cbp.maturity": [-1],
    "cbp.decay": [-0.1, 1.0, 1.5, math.nan],
    "head.kind": ["mlp", "Linear"],
    "head.scale": [0.0, -1.0, math.nan, math.inf],
    "optimiser.prompt_lr": [-1e-3, math.nan, math.inf],
    "optimiser.block_lr": [-1e-3, math.nan, math.inf],
    "optimiser.head_lr": [-1e-3, math.nan, math.inf],
    "optimiser.max_norm": [0.0, -1.0, math.nan],
    "readout.kind": ["ridge", "mean"],
    "readout.weight": [-1.0, math.nan, math.inf],
    "readout.features": [-1],
    "readout.regularisation": [0.0, -1.0, math.nan, math.inf],
    "readout.priors": [(), (1.0, 0.0), (math.nan,), (math.inf,)],
    "readout.scales": [(), (-1.0,), (math.nan, 1.0)],
    "adaptation.kind": ["once", "CBPNet"],
    "adaptation.fewest_classes": [1, 0, -2],
    "adaptation.share": [-0.1, math.inf, math.nan],
    "adaptation.confidence": [-0.1, 1.1, math.nan],
    "adaptation.accuracy": [-0.1, 1.1, math.nan],
    "adaptation.final_rate": [-0.1, 1.1, math.nan],
    "adaptation.epochs": [0, -1],
}

AT_THE_EDGE = {
    "prompts.g_layers": [(), (7,)],
    "prompts.e_layers": [(), (5, 4)],
    "prompts.g_length": [1],
    "prompts.init_range": [0.0],
    "prompts.key_weight": [0.0],
    "prompts.replacement_rate": [0.0],
    "block.hidden": [1],
    "block.gate": [1.0, 1e-6],
    "cbp.replacement_rate": [0.0, 1.0],
    "cbp.maturity": [0],
    "cbp.decay": [0.0, 0.9999],
    "optimiser.head_lr": [0.0],
    "optimiser.max_norm": [math.inf],
    "adaptation.fewest_classes": [2],
    "readout.weight": [0.0],
}


def config_with(name, value):
    group, _, setting = name.partition(".")
    return LearnerConfig(**GROUPS | {group: dataclasses.replace(GROUPS[group], **{setting: value})})


def cases(table):
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), cases(OUT_OF_RANGE))
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InputError) as caught:
        config_with(name, value)
    message = str(caught.value)
    assert message.startswith(f"{name} is {value!r}; it must be ")
    assert "\n" not in message


@pytest.mark.parametrize(("name", "value"), cases(AT_THE_EDGE))
def test_a_value_at_the_edge_is_taken(name, value):
    group, _, setting = name.partition(".")
    assert getattr(getattr(config_with(name, value), group), setting) == value


def test_every_setting_has_a_range():
    settings = {
        f"{group}.{field.name}"
        for group, value in GROUPS.items()
        for field in dataclasses.fields(value)
    }
    assert settings == OUT_OF_RANGE.keys()


def test_without_a_block_it_is_dualprompt():
    assert LearnerConfig().block is None


def test_settings_cannot_be_changed_unchecked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LearnerConfig().head = HeadConfig("linear")
