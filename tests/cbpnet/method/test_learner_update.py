"""Whole learning, step by step, beside a plain version of it; and what a step must not touch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

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
from cbpnet.method.learner import Learner

DIM, CLASSES, TASKS = 8, 7, 3
CLASSES_OF_TASK = [[0, 3], [1, 2, 5], [4, 6]]
PROMPTS = PromptConfig((0,), 2, (1, 3), 2, init_range=0.5, key_weight=0.8)
RATES = OptimiserConfig(prompt_lr=0.02, block_lr=0.05, head_lr=0.01, max_norm=0.7)
BLOCK = BlockConfig(6, "residual", 0.6)
OFTEN = CBPConfig(replacement_rate=0.07, maturity=3, decay=0.9)


def config_of(block=BLOCK, head="cosine", cbp=OFTEN):
    readout = ReadoutConfig("means")
    return LearnerConfig(PROMPTS, block, cbp, HeadConfig(head, 4.0), RATES, readout)


def learner_of(toy_extractor, config):
    return Learner(toy_extractor(DIM), config, CLASSES, TASKS)


def images_of(task, count=12, dtype=torch.float64):
    """A task's images, queries and labels; every class has some."""
    generator = torch.Generator().manual_seed(task)
    images = torch.randn(count, 3, 2, 2, dtype=dtype, generator=generator)
    query = torch.randn(count, DIM, dtype=dtype, generator=generator)
    members = CLASSES_OF_TASK[task]
    return images, query, torch.tensor([members[i % len(members)] for i in range(count)])


def begun(learner, state, task):
    """The state with a task's images observed and the task begun."""
    _, query, labels = images_of(task, dtype=state["tasks.current"].dtype)
    state = learner.observe(state, query, labels)
    members = torch.zeros(CLASSES).index_fill(0, torch.tensor(CLASSES_OF_TASK[task]), 1.0)
    number = torch.tensor([float(task)]).to(query.dtype)
    return learner.begin_task(state, number, members.to(query.dtype))


def steps(learner, state, task, count, seed=0):
    """Yield the state after each of some steps on random batches of six, in two parts."""
    dtype = state["tasks.current"].dtype
    images, query, labels = images_of(task, dtype=dtype)
    generator = torch.Generator().manual_seed(100 * task + seed)
    for _ in range(count):
        rows = torch.randperm(len(labels), generator=generator)[:6]
        sums = {name: value.to(dtype) for name, value in learner.zero_sums().items()}
        for part in rows.split(4):
            sums = learner.gradients(state, images[part], query[part], labels[part], sums)
        noise = torch.rand(learner.noise_shape, generator=generator, dtype=dtype)
        state = learner.update(state, sums, noise, torch.ones(1, dtype=dtype))
        yield state, rows, noise


class PlainLearner:
    """The same learning with torch's optimiser and clipping, and plain loops for the rest."""

    def __init__(self, backbone, config, state, image_loss, plain_cbp):
        self.backbone, self.config, self.image_loss = backbone, config, image_loss
        self.leaves = {}
        self.e_prompts, self.keys = list(state["prompts.e"].clone()), [torch.zeros(DIM)] * TASKS
        self.shared = {
            n: v.clone()
            for n, v in state.items()
            if n == "prompts.g" or n.startswith(("block.", "head."))
        }
        self.queries = {c: [] for c in range(CLASSES)}
        if config.block is not None:
            cbp = config.cbp
            self.cbp = plain_cbp(config.block.hidden, cbp.replacement_rate, cbp.maturity, cbp.decay)
        self.replaced = 0

    def centre(self, label):
        return sum(self.queries[label]) / len(self.queries[label])

    def centres(self):
        zeros = torch.zeros(DIM, dtype=torch.float64)
        return torch.stack([self.centre(c) if self.queries[c] else zeros for c in range(CLASSES)])

    def begin(self, task):
        self.task, self.step_count = task, 0
        _, query, labels = images_of(task)
        for row, label in zip(query, labels.tolist(), strict=True):
            self.queries[label].append(row)
        self.keys[task] = query.mean(dim=0)
        if task > 0:
            self.e_prompts[task] = self.e_prompts[task - 1].clone()
        if self.config.head.kind == "cosine":
            for member in CLASSES_OF_TASK[task]:
                self.shared["head.weight"][member] = self.centre(member)
        values = self.shared | {
            "prompts.e": self.e_prompts[task][None],
            "prompts.key": self.keys[task][None],
        }
        self.leaves = {n: torch.nn.Parameter(v.clone()) for n, v in values.items()}
        rates = self.config.optimiser
        groups = [("prompts.", rates.prompt_lr), ("block.", rates.block_lr)]
        self.optimiser = torch.optim.Adam(
            [
                {"params": [p for n, p in self.leaves.items() if n.startswith(part)], "lr": rate}
                for part, rate in [*groups, ("head.", rates.head_lr)]
            ]
        )

    def step(self, images, query, labels, noise):
        losses, activity = [], 0.0
        for image, row, label in zip(images, query, labels.tolist(), strict=True):
            loss, _, hidden = self.image_loss(
                self.backbone,
                self.config,
                self.leaves,
                self.centres(),
                CLASSES_OF_TASK[self.task],
                image,
                row,
                label,
            )
            losses.append(loss)
            activity = (
                activity if hidden is None else activity + hidden.detach().abs() / len(labels)
            )
        self.optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.leaves.values(), self.config.optimiser.max_norm)
        self.optimiser.step()
        self.step_count += 1
        if self.config.block is not None:
            with torch.no_grad():
                self.replace(activity, noise)
        values = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        self.e_prompts[self.task] = values.pop("prompts.e")[0]
        self.keys[self.task] = values.pop("prompts.key")[0]
        self.shared = values

    def replace(self, activity, noise):
        w_in, b_in, w_out = (self.leaves[f"block.{n}"] for n in ("w_in", "b_in", "w_out"))
        for order, unit in enumerate(self.cbp.step(activity, w_out[0])):
            self.replaced += 1
            w_in[0, :, unit] = (2 * noise[order, 0] - 1) * math.sqrt(6 / DIM)
            b_in[0, unit] = 0
            w_out[0, unit] = 0
            for moment in ("exp_avg", "exp_avg_sq"):
                self.optimiser.state[w_in][moment][0, :, unit] = 0
                self.optimiser.state[b_in][moment][0, unit] = 0
                self.optimiser.state[w_out][moment][0, unit] = 0

    def tensors(self):
        """The state, by the names of the learner's."""
        known = range(self.task + 1)
        found = self.shared | {
            "prompts.e": torch.stack(self.e_prompts),
            "prompts.keys": torch.stack(self.keys),
            "adam.step": [self.step_count],
            "tasks.current": [self.task],
            "tasks.known": [float(task in known) for task in range(TASKS)],
            "classes.task": [
                next((t for t in known if c in CLASSES_OF_TASK[t]), -1) for c in range(CLASSES)
            ],
            "classes.count": [len(self.queries[c]) for c in range(CLASSES)],
            "classes.mean": self.centres(),
        }
        for name, leaf in self.leaves.items():
            found[f"adam.m.{name}"] = self.optimiser.state[leaf]["exp_avg"]
            found[f"adam.v.{name}"] = self.optimiser.state[leaf]["exp_avg_sq"]
        if self.config.block is not None:
            found["cbp.utility"], found["cbp.age"] = [self.cbp.utility], [self.cbp.age]
            found["cbp.accumulator"] = [self.cbp.accumulator]
        return found


@pytest.mark.parametrize("head", ["linear", "cosine"])
@pytest.mark.parametrize(
    "block", [None, BLOCK, replace(BLOCK, activation="relu"), BlockConfig(6, "classification", 1.0)]
)
def test_learning_is_that_of_the_plain_learner(toy_extractor, image_loss, plain_cbp, head, block):
    config = config_of(block, head)
    learner = learner_of(toy_extractor, config)
    state = learner.initial_state(RandomStream(1, 0)).to(torch.float64)
    plain = PlainLearner(learner.backbone, config, state, image_loss, plain_cbp)
    for task in range(TASKS):
        state = begun(learner, state, task)
        plain.begin(task)
        images, query, labels = images_of(task)
        for after, rows, noise in steps(learner, state, task, 10):
            plain.step(images[rows], query[rows], labels[rows], noise)
            state = after
            expected = plain.tensors()
            assert state.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_allclose(
                    state[name], value, rtol=1e-7, atol=1e-9, err_msg=f"{name} of task {task}"
                )
    assert plain.replaced >= (8 if block else 0)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_learning_a_task_keeps_the_bits_of_the_others(toy_extractor, head):
    learner = learner_of(toy_extractor, config_of(head=head))
    state = learner.initial_state(RandomStream(1, 0))
    for task in (0, 1):
        state = begun(learner, state, task)
        *_, (state, _, _) = steps(learner, state, task, 5)
    before = begun(learner, state, 2)
    *_, (after, _, _) = steps(learner, before, 2, 20)
    old = [c for task in (0, 1) for c in CLASSES_OF_TASK[task]]
    for name in learner.layout:
        same = before[name] == after[name]
        if name in ("prompts.e", "prompts.keys"):
            assert same[:2].all()
            assert not same[2].any()
        elif name in ("head.weight", "head.bias"):
            assert same[old].all()
            assert not same[CLASSES_OF_TASK[2]].any()
        elif name.startswith(("classes.", "tasks.")):
            assert same.all()
    assert torch.equal(before["prompts.e"][2], state["prompts.e"][1])
    assert torch.equal(before["prompts.e"][:2], state["prompts.e"][:2])
    assert torch.equal(before["prompts.keys"][:2], state["prompts.keys"][:2])


def test_rate_zero_is_backpropagation_bit_for_bit(toy_extractor):
    """Nothing is replaced either where no unit ever matures; the weights must be the same."""
    finals = []
    for cbp in (CBPConfig(0.0, 0), CBPConfig(0.5, maturity=10**6), OFTEN):
        learner = learner_of(toy_extractor, config_of(cbp=cbp))
        state = begun(learner, learner.initial_state(RandomStream(1, 0)), 0)
        images, query, labels = images_of(0, dtype=torch.float32)
        for _ in range(30):
            sums = learner.gradients(state, images, query, labels, learner.zero_sums())
            noise = torch.rand(learner.noise_shape)
            state = learner.update(state, sums, noise, torch.ones(1))
        finals.append(state)
    none, immature, replacing = finals
    names = [name for name in none if not name.startswith("cbp.")]
    assert all(torch.equal(none[name], immature[name]) for name in names)
    assert not torch.equal(none["block.w_in"], replacing["block.w_in"])
    assert none["cbp.age"].eq(30).all()
    assert none["cbp.accumulator"].item() == 0


def test_the_rate_multiplies_every_learning_rate(toy_extractor):
    halves = OptimiserConfig(0.01, 0.025, 0.005, RATES.max_norm)
    config = config_of()
    learners = [
        learner_of(toy_extractor, config),
        Learner(
            toy_extractor(DIM),
            LearnerConfig(PROMPTS, BLOCK, OFTEN, config.head, halves, config.readout),
            CLASSES,
            TASKS,
        ),
    ]
    images, query, labels = images_of(0, dtype=torch.float32)
    found = []
    for learner, rate in zip(learners, (0.5, 1.0), strict=True):
        state = begun(learner, learner.initial_state(RandomStream(1, 0)), 0)
        sums = learner.gradients(state, images, query, labels, learner.zero_sums())
        noise = torch.zeros(learner.noise_shape)
        found.append(learner.update(state, sums, noise, torch.tensor([rate])))
    assert not torch.equal(found[0]["prompts.g"], state["prompts.g"])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-6, atol=0)


def test_a_step_without_images_changes_no_parameter(toy_extractor):
    learner = learner_of(toy_extractor, config_of(cbp=CBPConfig(0.0)))
    state = begun(learner, learner.initial_state(RandomStream(1, 0)), 0)
    noise = torch.zeros(learner.noise_shape)
    after = learner.update(state, learner.zero_sums(), noise, torch.ones(1))
    changed = {name for name, value in state.items() if not torch.equal(after[name], value)}
    assert changed == {"adam.step", "cbp.age"}
