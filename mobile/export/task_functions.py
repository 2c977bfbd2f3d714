"""What a bundle of the paper's learner computes: its functions, of named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.method.layout import STATE, SUMS, MethodName, prefixed, unprefixed
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from mobile.export.tracing import Call, Function, Tensors, makes

__all__ = ["task_functions"]


def task_functions(
    learner: Learner, state: LearnerState, micro_batch: int, image_size: int
) -> list[Function]:
    """Return the functions of the paper's learner, documented at `Learner`."""
    dim = learner.backbone.dim
    images = {"images": torch.zeros(micro_batch, 3, image_size, image_size)}
    query = {"query": torch.ones(micro_batch, dim)}
    labels = {"labels": torch.zeros(micro_batch, dtype=torch.int64)}
    states = prefixed(STATE, state)
    sums = prefixed(SUMS, learner.zero_sums())

    def state_of(given: Mapping[str, Tensor]) -> LearnerState:
        return LearnerState(learner.layout, unprefixed(STATE, given))

    def query_features(given: Mapping[str, Tensor]) -> Tensors:
        return {"query": learner.query(given["images"])}

    def observe(given: Mapping[str, Tensor]) -> Tensors:
        return prefixed(STATE, learner.observe(state_of(given), given["query"], given["labels"]))

    def begin_task(given: Mapping[str, Tensor]) -> Tensors:
        return prefixed(STATE, learner.begin_task(state_of(given), given["task"], given["members"]))

    def predict(given: Mapping[str, Tensor]) -> Tensors:
        kind = learner.config.readout.kind
        found, task = learner.scores(
            state_of(given), given["images"], given["query"], ["none", kind]
        )
        outputs = {"scores": found[kind], "task": task}
        return outputs if kind == "none" else outputs | {"network_scores": found["none"]}

    def gradients(given: Mapping[str, Tensor]) -> Tensors:
        found = learner.gradients(
            state_of(given),
            given["images"],
            given["query"],
            given["labels"],
            unprefixed(SUMS, given),
        )
        return prefixed(SUMS, found)

    def update(given: Mapping[str, Tensor]) -> Tensors:
        found = learner.update(
            state_of(given), unprefixed(SUMS, given), given["noise"], given["rate"]
        )
        return prefixed(STATE, found)

    task = {"task": torch.zeros(1), "members": torch.zeros(learner.classes)}
    step = {"noise": torch.zeros(learner.noise_shape), "rate": torch.ones(1)}
    functions: dict[MethodName, tuple[Call, Tensors]] = {
        "initial_state": (makes(states), {}),
        "query": (query_features, images),
        "observe": (observe, query | labels | states),
        "begin_task": (begin_task, task | states),
        "predict": (predict, images | query | states),
        "gradients": (gradients, images | query | labels | states | sums),
        "update": (update, step | states | sums),
    }
    return [
        Function(name, call, inputs, differentiates=name == "gradients")
        for name, (call, inputs) in functions.items()
    ]
