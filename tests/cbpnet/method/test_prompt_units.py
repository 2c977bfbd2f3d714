"""Continual backpropagation of prompt tokens, against explicit attention and plain loops."""

import math
from dataclasses import replace

import pytest
import torch

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.adam import adam_step, clip_factor
from cbpnet.method.config import (
    AdaptationConfig,
    CBPConfig,
    LearnerConfig,
    OptimiserConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.layout import MOMENTS, is_adapted, noise_shape, state_layout, trainable_layout
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.prompt_units import token_contribution

DIM, CLASSES, LENGTH = 12, 4, 5
CBP = CBPConfig(maturity=3, decay=0.9)
UNITS = ("cbp.prompt_utility", "cbp.prompt_age", "cbp.prompt_accumulator")


def prompts_of(rate, layers=(0, 2), length=LENGTH):
    return PromptConfig(layers, length, (), 1, init_range=0.3, replacement_rate=rate)


def config_of(rate, **changes):
    return LearnerConfig(prompts_of(rate), cbp=CBP, readout=ReadoutConfig("none"), **changes)


def begun(learner, seed=1):
    """A state in which the one task has two classes, with moments of former steps."""
    state = learner.initial_state(RandomStream(seed, 0))
    query = torch.from_numpy(RandomStream(seed, 1).normal(6, learner.backbone.dim))
    state = learner.observe(state, query, torch.tensor([0, 1, 0, 1, 0, 1]))
    return learner.begin_task(state, torch.zeros(1), torch.tensor([1.0, 1, 0, 0]))


def attention_received(vit, image, prefix):
    """What each prefix token of a prompted layer gets, [heads, length], query after query."""
    tokens = vit.patch_embed.proj(image[None]).flatten(2)[0].T
    tokens = torch.cat([vit.cls_token[0], tokens]) + vit.pos_embed[0]
    received = {}
    for layer, block in enumerate(vit.blocks):
        query, key, value = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=1)
        length = 0
        if layer in prefix:
            length = prefix[layer].shape[1]
            key = torch.cat([prefix[layer][0], key])
            value = torch.cat([prefix[layer][1], value])
        split = [part.chunk(block.attn.num_heads, dim=1) for part in (query, key, value)]
        heads, masses = [], []
        for q, k, v in zip(*split, strict=True):
            rows = [torch.softmax(k @ one / math.sqrt(len(one)), dim=0) for one in q]
            heads.append(torch.stack([row @ v for row in rows]))
            masses.append(sum(row[:length] for row in rows) / len(rows))
        if length:
            received[layer] = torch.stack(masses)
        tokens = tokens + block.attn.proj(torch.cat(heads, dim=1))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return received


def test_attention_received_is_that_of_every_query_written_out(micro_backbone):
    backbone = micro_backbone(torch.float64)
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    shared = torch.randn(1, 2, 3, backbone.dim, generator=generator, dtype=torch.float64)
    own = torch.randn(2, 2, 4, backbone.dim, generator=generator, dtype=torch.float64)
    prefixes = {0: shared, 2: own}
    features, received = backbone.with_attention(images, prefixes)
    assert features.equal(backbone(images, prefixes))
    assert received.keys() == prefixes.keys()
    for place, image in enumerate(images):
        expected = attention_received(backbone.vit, image, {0: shared[0], 2: own[place]})
        for layer, part in expected.items():
            torch.testing.assert_close(received[layer][place], part)


def test_attention_received_has_no_gradient_and_the_features_keep_theirs(micro_backbone):
    backbone = micro_backbone()
    images = torch.randn(2, 3, 32, 32)
    prefix = torch.randn(1, 2, 3, backbone.dim, requires_grad=True)
    features, received = backbone.with_attention(images, {1: prefix})
    assert not received[1].requires_grad
    (found,) = torch.autograd.grad(features.square().sum(), prefix)
    (expected,) = torch.autograd.grad(backbone(images, {1: prefix}).square().sum(), prefix)
    assert found.equal(expected)


def test_a_prefix_of_no_layer_is_refused(micro_backbone):
    with pytest.raises(InputError, match="prefix layer 99 of vit_micro_patch8_32 must lie in 0"):
        micro_backbone().with_attention(torch.randn(1, 3, 32, 32), {99: torch.randn(1, 2, 3, 64)})


def test_a_contribution_is_attention_times_the_length_of_the_value_head_by_head():
    images, layers, heads, length, width = 3, 2, 4, 5, 6
    attention = torch.rand(layers, images, heads, length, dtype=torch.float64)
    prompt = torch.randn(layers, 2, length, heads * width, dtype=torch.float64)
    found = token_contribution(list(attention), prompt)
    assert found.shape == (images, layers, length)
    for image in range(images):
        for layer in range(layers):
            for token in range(length):
                expected = 0.0
                for head in range(heads):
                    value = prompt[layer, 1, token, head * width : (head + 1) * width].tolist()
                    size = math.sqrt(sum(number**2 for number in value))
                    expected += float(attention[layer, image, head, token]) * size
                assert float(found[image, layer, token]) == pytest.approx(expected, rel=1e-12)


def test_gradients_sum_the_contributions_of_the_tasks_images(toy_extractor):
    learner = Learner(toy_extractor(DIM), config_of(1e-3), CLASSES, 1)
    plain = Learner(toy_extractor(DIM), config_of(0.0), CLASSES, 1)
    state = begun(learner)
    images, query = torch.randn(4, 3, 4, 4), torch.randn(4, DIM)
    labels = torch.tensor([0, -1, 1, 3])  # padding, and a class that is not the task's
    sums = learner.gradients(state, images, query, labels, learner.zero_sums())
    prefix = {layer: state["prompts.g"][i : i + 1] for i, layer in enumerate((0, 2))}
    _, received = learner.backbone.with_attention(images, prefix)
    each = token_contribution([received[0], received[2]], state["prompts.g"])
    torch.testing.assert_close(sums["attention"], each[0] + each[2])
    others = plain.gradients(begun(plain), images, query, labels, plain.zero_sums())
    assert others.keys() | {"attention"} == sums.keys()
    for name, value in others.items():
        assert value.equal(sums[name]), name


@pytest.mark.parametrize(("rate", "steps", "at_least"), [(0.03, 200, 20), (0.9, 60, 100)])
def test_tokens_are_replaced_as_the_plain_loops_say(
    toy_extractor, plain_cbp, rate, steps, at_least
):
    """Random sums, step after step: prompt, moments and statistics, beside loops and plain Adam."""
    learner = Learner(toy_extractor(DIM), config_of(rate), CLASSES, 1)
    generator = torch.Generator().manual_seed(5)
    state = begun(learner).to(torch.float64)
    references = [plain_cbp(LENGTH, rate, CBP.maturity, CBP.decay) for _ in range(2)]
    prompt, *moments = (state[name] for name in ("prompts.g", *(m + "prompts.g" for m in MOMENTS)))
    replaced = 0
    for step in range(1, steps + 1):
        count = int(torch.randint(1, 9, (1,), generator=generator))
        sums = {
            name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
            for name, value in learner.zero_sums().items()
        }
        sums |= {"count": torch.tensor([float(count)]), "attention": sums["attention"].abs()}
        noise = torch.rand(learner.noise_shape, generator=generator, dtype=torch.float64)
        state = learner.update(state, sums, noise, torch.ones(1, dtype=torch.float64))

        mean = {name: sums[name] / count for name in learner.trainables}
        gradient = clip_factor(mean.values(), 1.0) * mean["prompts.g"]
        number = torch.tensor([float(step)], dtype=torch.float64)
        prompt, *moments = adam_step(
            prompt, gradient, *moments, number, torch.tensor(OptimiserConfig().prompt_lr)
        )
        for layer, reference in enumerate(references):
            contribution = sums["attention"][layer] / count
            chosen = reference.step(contribution.tolist(), [[1.0]] * LENGTH)
            for order, token in enumerate(chosen):
                key, value = (0.3 * (2 * noise[order, layer] - 1)).chunk(2)
                prompt[layer, 0, token], prompt[layer, 1, token] = key, value
                for moment in moments:
                    moment[layer, :, token] = 0
            replaced += len(chosen)
        torch.testing.assert_close(state["prompts.g"], prompt)
        for name, moment in zip(MOMENTS, moments, strict=True):
            torch.testing.assert_close(state[name + "prompts.g"], moment)
        for name in ("utility", "age", "accumulator"):
            expected = torch.tensor([getattr(one, name) for one in references]).double()
            torch.testing.assert_close(state[f"cbp.prompt_{name}"], expected)
    assert replaced >= at_least


def test_at_rate_zero_nothing_of_it_exists(toy_extractor):
    learner = Learner(toy_extractor(DIM), config_of(0.0), CLASSES, 1)
    assert not any(name.startswith("cbp.") for name in learner.layout)
    assert "attention" not in learner.zero_sums()
    assert math.prod(learner.noise_shape) == 0


def test_a_rate_adds_three_tensors_to_either_state_and_noise_for_a_token():
    config = config_of(0.3)
    one_pass = replace(
        config, adaptation=AdaptationConfig("always"), readout=ReadoutConfig("whitened")
    )
    for learner in (config, one_pass):
        layout = state_layout(learner, DIM, CLASSES, 1)
        assert [name for name in layout if name.startswith("cbp.")] == list(UNITS)
        assert [layout[name] for name in UNITS] == [(2, LENGTH), (2, LENGTH), (2,)]
        # At most ceil(0.3 * 5) tokens of each of two layers, a key and a value each.
        assert noise_shape(learner, DIM) == (2, 2, 2 * DIM)
    assert trainable_layout(config, DIM, CLASSES) == trainable_layout(config_of(0), DIM, CLASSES)


@pytest.mark.parametrize("layers", [(), (0,)])
def test_a_rate_needs_a_g_prompt_and_goes_with_no_block(layers):
    kind = AdaptationConfig("auto" if layers else "never")
    prompts = prompts_of(0.1, layers)
    if layers:
        assert LearnerConfig(prompts, adaptation=kind).prompt_cbp.replacement_rate == 0.1
    else:
        with pytest.raises(InputError, match=r"replacement_rate is 0\.1; it must be 0 where there"):
            LearnerConfig(prompts, adaptation=kind)


def test_an_adaptation_begins_with_the_units_of_the_lessons_before(toy_extractor):
    config = LearnerConfig(prompts_of(0.1), cbp=CBP, adaptation=AdaptationConfig("always"))
    learner = OnePassLearner(toy_extractor(DIM), config, CLASSES)
    state = learner.initial_state(RandomStream(1, 0))
    old = {name: torch.rand(state[name].shape) for name in UNITS}
    begun = learner.begin_task(state.replace(old), torch.tensor([1.0, 0, 1, 0]))
    for name, value in old.items():
        assert begun[name].equal(value)
    assert begun["adam.m.prompts.g"].eq(0).all()
    assert {name for name in begun if is_adapted(name)} == {"prompts.g", *UNITS}


def test_a_backbone_that_does_not_give_its_attention_is_refused(toy_extractor):
    class Bare:
        dim = DIM

        def __call__(self, images, prefixes=None):
            return toy_extractor(DIM)(images, prefixes)

    learner = Learner(Bare(), config_of(0.1), CLASSES, 1)
    images, query, labels = torch.randn(2, 3, 4, 4), torch.randn(2, DIM), torch.tensor([0, 1])
    with pytest.raises(InputError, match="a Bare does not say what attention prompt tokens"):
        learner.gradients(begun(learner), images, query, labels, learner.zero_sums())
