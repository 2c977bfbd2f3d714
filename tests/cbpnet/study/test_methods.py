"""The table of methods: what each variant changes, and who shares a training run."""

from dataclasses import replace

import pytest
import torch

from cbpnet.backbone.presets import PRESETS, get_preset
from cbpnet.host.errors import InputError
from cbpnet.run.metrics import MethodKind
from cbpnet.study.closed_form import LinearProbe, NearestClassMean, RanPAC, Ridge
from cbpnet.study.methods import (
    LEARNERS,
    METHODS,
    ONE_PASS,
    PEERS,
    VARIANTS,
    adapting,
    check_methods,
)

CONFIG = get_preset("vit_tiny").config("cbpnet")


def test_cbpnet_is_the_preset_itself():
    assert VARIANTS["cbpnet"](CONFIG) == CONFIG


def test_without_cbp_only_the_replacement_rate_differs():
    found = VARIANTS["block-no-cbp"](CONFIG)
    assert found.cbp.replacement_rate == 0
    assert CONFIG.cbp.replacement_rate > 0
    assert replace(found, cbp=CONFIG.cbp) == CONFIG


def test_dualprompt_has_the_released_lengths_and_no_block():
    found = VARIANTS["dualprompt"](CONFIG)
    assert found.block is None
    assert (found.prompts.g_length, found.prompts.e_length) == (5, 5)
    lengths = {"g_length": CONFIG.prompts.g_length, "e_length": CONFIG.prompts.e_length}
    same = replace(found, block=CONFIG.block, prompts=replace(found.prompts, **lengths))
    assert same == CONFIG


def test_the_plain_block_is_trained_by_the_cross_entropy_and_added_whole():
    found = VARIANTS["plain-block"](CONFIG)
    assert (found.block.objective, found.block.gate) == ("classification", 1.0)
    assert found.block.hidden == CONFIG.block.hidden
    assert replace(found, block=CONFIG.block, optimiser=CONFIG.optimiser) == CONFIG
    assert found.optimiser.prompt_lr == CONFIG.optimiser.prompt_lr
    bare = replace(CONFIG, block=None)
    assert VARIANTS["plain-block"](bare) == bare


@pytest.mark.parametrize("preset", PRESETS)
def test_every_variant_can_be_trained_within_the_presets_layers(preset):
    for build in VARIANTS.values():
        build(get_preset(preset).config("cbpnet"))  # the settings check themselves


@pytest.mark.parametrize("preset", PRESETS)
def test_every_adaptation_is_the_preset_s_own(preset):
    for method in ONE_PASS.values():
        found = adapting(get_preset(preset).config(), method.adaptation)
        assert found == get_preset(preset).config(method.adaptation)


def test_a_one_pass_method_is_named_after_what_it_is():
    for name, method in ONE_PASS.items():
        kind, _, readout = name.partition("+")
        assert method.readout == (readout or "whitened")
        assert method.adaptation == (
            kind.removeprefix("adapt-") if kind.startswith("adapt-") else "auto"
        )
        assert method.anew is (name == "oracle")


def test_a_learner_method_is_a_variant_and_a_readout():
    assert {method.variant for method in LEARNERS.values()} == set(VARIANTS)
    for name, method in LEARNERS.items():
        variant, _, readout = name.partition("+")
        assert (method.variant, method.readout) == (variant, readout or "none")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ncm", NearestClassMean), ("ridge", Ridge), ("ranpac", RanPAC), ("probe", LinearProbe)],
)
def test_peers_are_built_for_the_features(name, kind):
    peer = PEERS[name].build(6, 3, 11, 4)
    assert type(peer) is kind
    peer.fit_task(torch.randn(20, 6), torch.arange(20) % 3)
    assert peer.scores(torch.randn(2, 6)).shape == (2, 3)
    assert (PEERS[name].kind is MethodKind.UPPER_BOUND) is (name == "probe")


def test_the_projection_has_the_asked_size_and_seed():
    peers = [PEERS["ranpac"].build(6, 3, 11, seed) for seed in (4, 4, 5)]
    assert peers[0].projection.shape == (6, 11)
    assert torch.equal(peers[0].projection, peers[1].projection)
    assert not torch.equal(peers[0].projection, peers[2].projection)


def test_an_unknown_method_is_refused_with_those_there_are():
    check_methods(METHODS)
    with pytest.raises(InputError, match=r"method 'ewc' is unknown; .* ncm, ridge, ranpac, probe"):
        check_methods(["ncm", "ewc"])
