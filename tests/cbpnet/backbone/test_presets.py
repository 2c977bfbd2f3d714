"""The presets' budgets, against numbers computed by hand."""

import dataclasses

import pytest
import torch

from cbpnet.backbone.presets import (
    BUDGET,
    PRESETS,
    Budget,
    check_budget,
    choose_preset,
    count_trainables,
    get_preset,
)
from cbpnet.backbone.vit import load_backbone
from cbpnet.host.errors import InputError
from cbpnet.method.config import BlockConfig, HeadConfig, LearnerConfig, PromptConfig

# G: layers x keys and values x length x D; E likewise; key D; block D x H + H + H x D.
BY_HAND = {
    "vit_base": (
        2 * 2 * 5 * 768 + 3 * 2 * 5 * 768 + 768 + 768 * 80 + 80 + 80 * 768,
        85_798_656,
    ),
    "vit_small": (
        2 * 2 * 5 * 384 + 3 * 2 * 4 * 384 + 384 + 384 * 32 + 32 + 32 * 384,
        21_665_664,
    ),
    "vit_tiny": (
        2 * 2 * 3 * 192 + 3 * 2 * 2 * 192 + 192 + 192 * 16 + 16 + 16 * 192,
        5_524_416,
    ),
    "deit_tiny": (
        2 * 2 * 3 * 192 + 3 * 2 * 2 * 192 + 192 + 192 * 16 + 16 + 16 * 192,
        5_524_416,
    ),
    "micro": (
        2 * 2 * 2 * 64 + 3 * 2 * 2 * 64 + 64 + 64 * 16 + 16 + 16 * 64,
        # Patches, CLS and position; six layers of two norms, attention and MLP; the last norm.
        (3 * 8 * 8 + 1) * 64 + 64 + 17 * 64
        + 6 * (2 * 128 + 65 * 192 + 65 * 64 + 65 * 128 + 129 * 64)
        + 128,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_budget_is_the_one_computed_by_hand(name):
    preset = get_preset(name)
    with torch.device("meta"):
        backbone = load_backbone(preset.backbone, pretrained=False)
    trainable, parameters = BY_HAND[name]
    found = backbone.dim, backbone.depth, backbone.parameters_without_head
    assert (preset.dim, preset.depth, preset.parameters) == found
    found = count_trainables(preset.config("cbpnet"), preset.dim, preset.parameters)
    assert found == Budget(trainable, parameters)
    assert found.share == trainable / parameters
    check_budget(found, preset.budget)


@pytest.mark.parametrize("adaptation", ["auto", "first", "always", "never"])
@pytest.mark.parametrize("name", PRESETS)
def test_the_one_pass_learner_trains_a_prompt_in_five_layers_at_most(name, adaptation):
    preset = get_preset(name)
    config = preset.config(adaptation)
    assert (config.adaptation.kind, config.one_pass) == (adaptation, True)
    found = count_trainables(config, preset.dim, preset.parameters)
    layers = 0 if adaptation == "never" else 5
    assert found.trainable == layers * 2 * 5 * preset.dim
    check_budget(found, preset.budget)


def test_a_shallow_backbone_has_its_prompt_in_all_layers():
    preset = dataclasses.replace(get_preset("micro"), depth=3)
    config = preset.config()
    assert config.prompts.g_layers == (0, 1, 2)
    assert config.features == ("pooled", "block1", "block2")


@pytest.mark.parametrize("name", PRESETS)
def test_only_the_micro_preset_has_more_than_the_papers_budget(name):
    trainable, parameters = BY_HAND[name]
    assert (trainable < 0.002 * parameters) is (name != "micro")
    assert get_preset(name).budget == (0.02 if name == "micro" else BUDGET)


def test_the_numbers_do_not_depend_on_the_head_and_the_other_tasks():
    config = LearnerConfig(PromptConfig((0,), 2, (1, 2), 3), BlockConfig(4))
    count = count_trainables(config, 10, 1000).trainable
    assert count == 2 * 2 * 10 + 2 * 2 * 3 * 10 + 10 + (10 * 4 + 4 + 4 * 10)
    linear = dataclasses.replace(config, head=HeadConfig("linear"))
    assert count_trainables(linear, 10, 1000).trainable == count
    bare = LearnerConfig(PromptConfig((), 1, (), 1))
    assert count_trainables(bare, 10, 1000).trainable == 0


def test_a_share_at_the_limit_is_within_it():
    check_budget(Budget(2, 1000), 0.002)
    with pytest.raises(
        InputError, match=r"3 parameters, 0\.300 % of the backbone's 1,000; .*0\.2 "
    ):
        check_budget(Budget(3, 1000), 0.002)
    check_budget(Budget(3, 1000), 0.003)


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"'vit_huge' does not exist; .* vit_base, vit_small"):
        get_preset("vit_huge")


@pytest.mark.parametrize("name", PRESETS)
def test_a_backbone_with_a_preset_gets_it_whatever_its_tag(name):
    preset = PRESETS[name]
    dim, depth, parameters = 8, 2, 10  # nothing would fit
    assert choose_preset(preset.backbone, dim, depth, parameters) == preset
    assert choose_preset(f"{preset.backbone}.a_tag", dim, depth, parameters) == preset


@pytest.mark.parametrize(
    ("backbone", "dim", "parameters", "like"),
    [
        ("vit_small_patch14_dinov2", 384, 22_056_576, "vit_small"),
        ("deit_base_patch16_224", 768, 85_798_656, "vit_base"),
        ("vit_large_patch16_224", 1024, 303_301_632, "vit_base"),
        ("deit_tiny_distilled_patch16_224", 192, 5_524_800, "vit_tiny"),
    ],
)
def test_another_backbone_gets_the_largest_preset_that_fits(backbone, dim, parameters, like):
    found, template = choose_preset(backbone, dim, 12, parameters), PRESETS[like]
    measured = {"backbone": backbone, "dim": dim, "depth": 12, "parameters": parameters}
    assert found == dataclasses.replace(template, **measured)
    check_budget(count_trainables(found.config("cbpnet"), dim, parameters), BUDGET)
    shares = {
        name: count_trainables(preset.config("cbpnet"), dim, parameters).share
        for name, preset in PRESETS.items()
        if name != "micro"
    }
    assert shares[like] == max(share for share in shares.values() if share <= BUDGET)


def test_where_no_preset_fits_the_smallest_is_chosen_and_refused():
    found = choose_preset("vit_wee", 256, 4, 1_000_000)
    assert found.config("cbpnet") == PRESETS["vit_tiny"].config("cbpnet")
    with pytest.raises(InputError, match="prompts and block have"):
        check_budget(count_trainables(found.config("cbpnet"), 256, 1_000_000), found.budget)
