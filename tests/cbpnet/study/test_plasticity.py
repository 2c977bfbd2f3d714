import math

import pytest
import torch
import torch.nn.functional as F

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import (
    BlockConfig,
    CBPConfig,
    HeadConfig,
    LearnerConfig,
    OptimiserConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.features import normalise_feature
from cbpnet.method.learner import Learner
from cbpnet.run.training import TrainingConfig
from cbpnet.study import plasticity
from cbpnet.study.plasticity import (
    WEIGHTS,
    PairConfig,
    PairFeatures,
    Variant,
    pair_tasks,
    run_pairs,
)

CLASSES, TRAIN, TEST, DIM, HIDDEN = 6, 8, 5, 12, 5
BACKPROPAGATION = Variant(CBPConfig(0.0))


class Identity:
    """A backbone whose images are their features."""

    dim = DIM

    def __call__(self, images, prefixes=None):
        return images


@pytest.fixture
def features():
    """Classes that overlap, so that accuracies lie between chance and 1."""
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(CLASSES, 1, DIM, generator=generator)
    draw = centres + 1.5 * torch.randn(CLASSES, TRAIN + TEST, DIM, generator=generator)
    normalised = normalise_feature(draw.flatten(0, 1)).view(CLASSES, TRAIN + TEST, DIM)
    return PairFeatures(normalised[:, :TRAIN], normalised[:, TRAIN:])


def configured(form="residual", tasks=6, lr=0.05):
    return PairConfig(tasks, HIDDEN, form, lr, TrainingConfig(epochs=2, batch_size=4))


def uniform(stream, *shape):
    return torch.from_numpy(stream.uniform(*shape))


def drawn_block(stream, form):
    """A new block's weights, Kaiming-uniform: [D, H], [H], [H, D]."""
    w_in = ((2 * uniform(stream, HIDDEN, DIM) - 1) * math.sqrt(6 / DIM)).T
    w_out = torch.zeros(HIDDEN, DIM)
    if form == "bottleneck":
        w_out = ((2 * uniform(stream, DIM, HIDDEN) - 1) * math.sqrt(6 / HIDDEN)).T
    return [value.clone().requires_grad_() for value in (w_in, torch.zeros(HIDDEN), w_out)]


def plain_stream(features, config, seed, block):
    """One seed's accuracies and final block by torch's own optimiser, without CBP."""
    stream = RandomStream(seed, WEIGHTS)
    weights = drawn_block(stream, config.form)
    accuracies = []
    for number, task in enumerate(pair_tasks(features, config, seed)):
        if block == "fresh":
            weights = drawn_block(stream, config.form)
        w_in, b_in, w_out = weights
        head = torch.nn.Linear(DIM, 2)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)

        def logits(x, head=head, w_in=w_in, b_in=b_in, w_out=w_out):
            seen = torch.relu(x @ w_in + b_in) @ w_out
            return head(seen if config.form == "bottleneck" else x + seen)

        learnt = [*([] if block == "frozen" else weights), *head.parameters()]
        optimiser = torch.optim.Adam(learnt, config.lr)
        for batch, labels in zip(task.features, task.labels, strict=True):
            optimiser.zero_grad()
            F.cross_entropy(logits(batch), labels).backward()
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimiser.step()
        right = 0
        for index, image in enumerate(task.test):
            scores = logits(image[None])[0].tolist()
            right += int(scores[1] > scores[0]) == int(index >= TEST)
        accuracies.append(right / (2 * TEST))
        assert number < config.tasks
    return accuracies, weights


@pytest.mark.parametrize("block", ["carried", "fresh", "frozen"])
@pytest.mark.parametrize("form", ["residual", "bottleneck"])
def test_rate_zero_is_plain_backpropagation(features, form, block):
    config, seeds = configured(form), (3, 4)
    found = run_pairs(features, config, {"it": Variant(CBPConfig(0.0), block)}, seeds)["it"]
    for row, seed in enumerate(seeds):
        accuracies, (w_in, _, w_out) = plain_stream(features, config, seed, block)
        assert found.accuracy[row].tolist() == pytest.approx(accuracies)
        last = found.diagnoses[-1]
        assert last.incoming[row].item() == pytest.approx(w_in.abs().mean().item(), rel=1e-4)
        assert last.outgoing[row].item() == pytest.approx(w_out.abs().mean().item(), rel=1e-4)
    assert 0.5 < found.accuracy.mean() < 1


def test_the_step_is_the_learners(features):
    """The same stream through `Learner`, which gives every pair two classes of its own."""
    config, seed, cbp = configured(tasks=8), 2, CBPConfig(0.05, maturity=5)
    found = run_pairs(features, config, {"it": Variant(cbp)}, (seed,))["it"]
    learner = Learner(
        Identity(),
        LearnerConfig(
            prompts=PromptConfig(g_layers=(), e_layers=()),
            block=BlockConfig(HIDDEN, objective="classification", gate=1.0, activation="relu"),
            cbp=cbp,
            head=HeadConfig("linear"),
            optimiser=OptimiserConfig(block_lr=config.lr, head_lr=config.lr),
            readout=ReadoutConfig("none"),
        ),
        classes=2 * config.tasks,
        tasks=config.tasks,
    )
    stream = RandomStream(seed, WEIGHTS)
    state = learner.initial_state(stream)
    replaced = 0
    for number, task in enumerate(pair_tasks(features, config, seed)):
        mine = torch.tensor([2 * number, 2 * number + 1])
        members = torch.zeros(learner.classes).index_fill(0, mine, 1.0)
        state = learner.begin_task(state, torch.tensor([float(number)]), members)
        for batch, labels in zip(task.features, task.labels, strict=True):
            sums = learner.gradients(state, batch, batch, mine[labels], learner.zero_sums())
            noise = uniform(stream, *learner.noise_shape)
            state = learner.update(state, sums, noise, torch.ones(1))
            replaced += int((state["cbp.age"] == 0).sum())
        scores = learner.network_scores(state, task.test, task.test)[0][:, mine]
        right = scores.argmax(dim=1) == torch.arange(2).repeat_interleave(TEST)
        assert found.accuracy[0, number] == pytest.approx(right.double().mean().item())
    assert replaced > 10
    last = found.diagnoses[-1]
    assert last.incoming.item() == pytest.approx(state["block.w_in"].abs().mean().item(), rel=1e-4)
    assert last.outgoing.item() == pytest.approx(state["block.w_out"].abs().mean().item(), rel=1e-4)


def test_no_run_depends_on_the_others(features):
    config = configured("bottleneck")
    variants = {
        "plain": BACKPROPAGATION,
        "cbp": Variant(CBPConfig(0.1, 3)),
        "fresh": Variant(CBPConfig(0.0), "fresh"),
    }
    together = run_pairs(features, config, variants, (0, 7))
    for name, variant in variants.items():
        alone = run_pairs(features, config, {name: variant}, (7,))[name]
        assert together[name].accuracy[1].tolist() == alone.accuracy[0].tolist()
        for joint, single in zip(together[name].diagnoses, alone.diagnoses, strict=True):
            torch.testing.assert_close(joint.incoming[1:], single.incoming)
            torch.testing.assert_close(joint.rank[1:], single.rank)
    assert together["plain"].accuracy.tolist() != together["cbp"].accuracy.tolist()
    assert together["cbp"].accuracy[0].tolist() != together["cbp"].accuracy[1].tolist()


def test_the_same_seeds_give_the_same_bits(features):
    variants = {"cbp": Variant(CBPConfig(0.1, 3))}
    first, second = (run_pairs(features, configured(), variants, (1, 2))["cbp"] for _ in range(2))
    assert (first.accuracy == second.accuracy).all()
    assert torch.equal(first.diagnoses[-1].outgoing, second.diagnoses[-1].outgoing)


def test_tasks_and_weights_of_each_seed_draw_numbers_of_their_own(features, monkeypatch):
    make, first_numbers = plasticity.RandomStream, {}

    def recorded(seed, purpose):
        first_numbers[seed, purpose] = tuple(make(seed, purpose).uniform(4).tolist())
        return make(seed, purpose)

    monkeypatch.setattr(plasticity, "RandomStream", recorded)
    run_pairs(features, configured(), {"it": BACKPROPAGATION}, (0, 1))
    assert len(first_numbers) == len(set(first_numbers.values())) == 4


def test_a_task_has_each_image_of_two_classes_once_an_epoch(features):
    pairs = set()
    for task in pair_tasks(features, configured(tasks=30), seed=0):
        first, second = (
            next(k for k in range(CLASSES) if torch.equal(features.test[k], half))
            for half in task.test.split(TEST)
        )
        assert first != second
        pairs.add((first, second))
        expected = torch.cat([features.train[first], features.train[second]])
        for epoch, labels in zip(
            task.features.flatten(0, 1).split(2 * TRAIN),
            task.labels.flatten().split(2 * TRAIN),
            strict=True,
        ):
            rows = [(expected == row).all(dim=1).nonzero().item() for row in epoch]
            assert sorted(rows) == list(range(2 * TRAIN))
            assert labels.tolist() == [int(row >= TRAIN) for row in rows]
    assert len(pairs) > 15


def test_diagnoses_are_of_first_middle_and_last_task(features):
    counted = []
    found = run_pairs(features, configured(), {"it": BACKPROPAGATION}, (0,), counted.append)["it"]
    assert [diagnosis.tasks for diagnosis in found.diagnoses] == [1, 3, 6]
    assert found.accuracy.shape == (1, 6)
    assert sum(counted) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": 0}, "tasks is 0"),
        ({"hidden": 0}, "hidden is 0"),
        ({"lr": 0.0}, "lr is 0"),
        ({"lr": math.inf}, "lr is inf"),
        ({"form": "dense"}, "form is 'dense'; it must be one of residual, bottleneck"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        PairConfig(**{"tasks": 5, "hidden": 4, **changes})


def test_streams_that_cannot_be_drawn_are_refused(features):
    one = PairFeatures(features.train[:1], features.test[:1])
    with pytest.raises(InputError, match="1 class"):
        run_pairs(one, configured(), {"it": BACKPROPAGATION}, (0,))
    large = PairConfig(5, HIDDEN, training=TrainingConfig(epochs=1, batch_size=2 * TRAIN + 1))
    with pytest.raises(InputError, match="batch_size is 17; a task takes only 16 images"):
        run_pairs(features, large, {"it": BACKPROPAGATION}, (0,))
