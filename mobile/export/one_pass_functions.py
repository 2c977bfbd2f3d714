"""What a bundle of the one-pass learner computes: its functions, of named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.method.drift import Drift
from cbpnet.method.layout import (
    ADAPTATION,
    DRIFT,
    STATE,
    SUMS,
    MethodName,
    methods_of,
    prefixed,
    unprefixed,
)
from cbpnet.method.one_pass import OnePassLearner, statistics_of
from cbpnet.method.state import LearnerState
from cbpnet.method.whitening import Whitening, whiten
from mobile.export.tracing import Call, Function, Tensors, makes

__all__ = ["one_pass_functions"]

# Features that are counted, left out or compared in one call: each reads matrices of F x F, beside
# which a row is nothing, whatever micro-batch the images are shown in.
_ROWS = 32


def one_pass_functions(
    learner: OnePassLearner, state: LearnerState, micro_batch: int, image_size: int
) -> list[Function]:
    """Return the functions of the one-pass learner, documented at `OnePassLearner`.

    The last ones, of an adaptation, are those of `Learner`.
    """
    images = {"images": torch.zeros(micro_batch, 3, image_size, image_size)}
    labels = {"labels": torch.zeros(micro_batch, dtype=torch.int64)}
    width = state["classes.mean"].shape[1]
    x = {"x": torch.ones(_ROWS, width)}
    counted = x | {"labels": torch.zeros(_ROWS, dtype=torch.int64)}
    copies = {"copies": torch.ones(_ROWS)}
    members = {"members": torch.zeros(learner.classes)}
    states = prefixed(STATE, state)
    metric = whiten(statistics_of(state), torch.ones(1))._asdict()
    numbers = {"prior": torch.ones(1), "scale": torch.ones(1)}
    evidence = prefixed(SUMS, learner.zero_evidence())

    def state_of(given: Mapping[str, Tensor]) -> LearnerState:
        return LearnerState(learner.layout, unprefixed(STATE, given))

    def features(given: Mapping[str, Tensor]) -> Tensors:
        x, confidence = learner.look(unprefixed(STATE, given), given["images"])
        return {"x": x} if confidence is None else {"x": x, "confidence": confidence}

    def observe(given: Mapping[str, Tensor]) -> Tensors:
        return prefixed(STATE, learner.observe(state_of(given), given["x"], given["labels"]))

    def solve(given: Mapping[str, Tensor]) -> Tensors:
        solved, found = learner.solve(state_of(given), given["prior"], given["scale"])
        return found._asdict() | prefixed(STATE, solved)

    def leave_one_out(given: Mapping[str, Tensor]) -> Tensors:
        found = learner.leave_one_out(
            state_of(given),
            Whitening(*(given[name] for name in Whitening._fields)),
            given["x"],
            given["labels"],
            given["members"],
            unprefixed(SUMS, given),
            given["copies"],
        )
        return prefixed(SUMS, found)

    def predict(given: Mapping[str, Tensor]) -> Tensors:
        scores, probabilities, unknown = learner.predict(state_of(given), given["x"])
        return {"scores": scores, "probabilities": probabilities, "unknown": unknown}

    functions: dict[MethodName, tuple[Call, Tensors]] = {
        "initial_state": (makes(states), {}),
        "features": (features, images | states),
        "observe": (observe, counted | states),
        "solve": (solve, numbers | states),
        "leave_one_out": (
            leave_one_out,
            counted | copies | members | metric | states | evidence,
        ),
        "predict": (predict, {"x": torch.ones(micro_batch, width)} | states),
    }
    if "update" in methods_of(learner.config):
        functions |= _adaptation_functions(learner, states, images, labels, members, counted)
    return [
        Function(name, call, inputs, differentiates=name == "gradients")
        for name, (call, inputs) in functions.items()
    ]


def _adaptation_functions(
    learner: OnePassLearner,
    states: Tensors,
    images: Tensors,
    labels: Tensors,
    members: Tensors,
    counted: Tensors,
) -> dict[MethodName, tuple[Call, Tensors]]:
    """Return the functions of a lesson that adapts the features."""
    trained = learner.adaptation
    blank = LearnerState(trained.layout, {n: torch.zeros(s) for n, s in trained.layout.items()})
    own = prefixed(ADAPTATION, blank)
    sums = prefixed(SUMS, trained.zero_sums())
    drift = prefixed(DRIFT, vars(learner.zero_drift()))
    step = {"noise": torch.zeros(trained.noise_shape), "rate": torch.ones(1)}
    # Apart: one tensor under two names would be traced as one.
    x, own_classes = counted["x"], {"labels": counted["labels"]}
    pairs = {"before": x.clone(), "after": x.clone(), "weight": torch.ones(len(x))}

    def state_of(given: Mapping[str, Tensor]) -> LearnerState:
        return LearnerState(learner.layout, unprefixed(STATE, given))

    def adapted(given: Mapping[str, Tensor]) -> LearnerState:
        return LearnerState(trained.layout, unprefixed(ADAPTATION, given))

    def begin_task(given: Mapping[str, Tensor]) -> Tensors:
        return prefixed(ADAPTATION, learner.begin_task(state_of(given), given["members"]))

    def gradients(given: Mapping[str, Tensor]) -> Tensors:
        # Without a key nothing reads the query.
        query = torch.zeros(len(given["labels"]), learner.backbone.dim)
        found = trained.gradients(
            adapted(given), given["images"], query, given["labels"], unprefixed(SUMS, given)
        )
        return prefixed(SUMS, found)

    def update(given: Mapping[str, Tensor]) -> Tensors:
        after = trained.update(
            adapted(given), unprefixed(SUMS, given), given["noise"], given["rate"]
        )
        return prefixed(ADAPTATION, after)

    def compare(given: Mapping[str, Tensor]) -> Tensors:
        found = learner.compare(
            Drift(**unprefixed(DRIFT, given)),
            given["before"],
            given["after"],
            given["weight"],
            given["labels"],
        )
        return prefixed(DRIFT, vars(found))

    def carry(given: Mapping[str, Tensor]) -> Tensors:
        carried = learner.carry(state_of(given), Drift(**unprefixed(DRIFT, given)))
        return prefixed(STATE, carried)

    return {
        "begin_task": (begin_task, members | states),
        "gradients": (gradients, images | labels | own | sums),
        "update": (update, step | own | sums),
        "compare": (compare, pairs | own_classes | drift),
        "carry": (carry, drift | states),
    }
