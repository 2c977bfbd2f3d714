"""A bundle that was just written, run and compared with PyTorch before it gets its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.layout import part, stored_in
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.training import begin_task
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.split_learner import SplitLearner
from quantize.distance import flat_cosine

__all__ = ["Agreement", "verify"]

_SEED = 0
_IMAGES = 4
# Random patterns this coarse are to a backbone like photographs; white noise is like nothing that
# it was trained on, and there its gradients turn with every number that is rounded otherwise.
_PATTERN = 8
# The least cosine between what the bundle and PyTorch compute. Both round to int8 where they do,
# but XNNPACK rounds a tie or a scale's last bit otherwise, and later layers amplify it: so much
# that PyTorch's own gradients have a cosine of 0.98 to those of images one millionth brighter.
_LEAST = {"fp32": 0.9999, "int8": 0.9}
# The largest difference of a class's score, a log-probability plus the readout's.
_FURTHEST = {"fp32": 1e-3, "int8": 0.5}


@dataclass(frozen=True)
class Agreement:
    """How far a bundle agrees with PyTorch in the same precision, on seeded random patterns.

    ``query`` and each of ``gradients`` is a cosine; ``scores`` the largest difference of a class's
    score. What this machine cannot run has no figure.
    """

    query: float | None
    scores: float | None
    gradients: dict[str, float]


def verify(
    path: Path,
    learner: Learner,
    state: LearnerState,
    precision: str,
    image_size: int,
    forward_runs: bool = True,
) -> Agreement:
    """Run a bundle: predict, learn a step, save and load; compare with an eager ``learner``.

    ``learner`` has the trunk that the bundle was made from, ``state`` is what `initial_state`
    should give. Where ``forward_runs`` is false, query and scores are not compared: this machine
    has no runtime for them.

    Raises:
        InputError: the bundle's stored state is another, its figures are not PyTorch's, a trainable
            did not change in a step, or a state does not survive its file.
    """
    program = Program(path)
    bundle = ProgramLearner(program)
    _check_equal("initial_state", bundle.stored_state(), state)
    generator = torch.Generator().manual_seed(_SEED)
    count = max(_IMAGES, program.manifest.micro_batch)
    patterns = torch.randn(count, 3, _PATTERN, _PATTERN, generator=generator)
    images = F.interpolate(patterns, size=image_size, mode="bicubic")
    labels = torch.arange(count) % min(2, learner.classes)
    start = learner.initial_state(generator)
    with torch.no_grad():
        query = learner.query(images)
        known = _stirred(begin_task(learner, start, 0, query, labels), generator)
        scores, _ = learner.predict(known, images, query)
    expected = learner.gradients(known, images, query, labels, learner.zero_sums())
    found = bundle.gradients(known, images, query, labels, bundle.zero_sums())
    agreement = Agreement(
        flat_cosine(query, bundle.query(images)) if forward_runs else None,
        _furthest(scores, bundle.predict(known, images, query)[0]) if forward_runs else None,
        {name: flat_cosine(expected[name], found[name]) for name in learner.trainables},
    )
    # An accelerator computes layers of fp32 in what it has, for instance bf16.
    forward = "int8" if isinstance(learner, SplitLearner) else precision
    for name, cosine in {"query": agreement.query, **agreement.gradients}.items():
        least = _LEAST[forward if name == "query" else precision]
        if cosine is not None and not cosine >= least:
            raise InputError(
                f"the exported program disagrees with PyTorch: the cosine of {name} is "
                f"{cosine:.4f}, it must be at least {least}; nothing is written"
            )
    if agreement.scores is not None and not agreement.scores <= _FURTHEST[forward]:
        raise InputError(
            f"the exported program disagrees with PyTorch: a score differs by "
            f"{agreement.scores:.4f}, at most {_FURTHEST[forward]} is right; nothing is written"
        )
    _check_step(bundle, learner, known, found, generator)
    _check_file(path, program, known)
    return agreement


def _stirred(state: LearnerState, generator: torch.Generator) -> LearnerState:
    """Return a state in which every trainable has a gradient to speak of.

    A block that gives nothing, as at the start, hides W_in; a key at its images' mean has none.
    """
    stirred = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in state.items()
        if part(name) == "block" or name == stored_in("prompts.key")
    }
    return state.replace(stirred)


def _furthest(a: Tensor, b: Tensor) -> float:
    """Return the largest difference; infinities that are the same differ by nothing."""
    return (a - b).where(a != b, 0.0).abs().max().item()


def _check_equal(what: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, value in wanted.items():
        if not found[name].equal(value):
            raise InputError(
                f"the exported program's {what} has another {name} than it should; "
                "nothing is written"
            )


def _check_step(
    bundle: ProgramLearner,
    learner: Learner,
    state: LearnerState,
    sums: dict[str, Tensor],
    generator: torch.Generator,
) -> None:
    """Raise `InputError` unless one step changes every trainable: a delegate may bake one in."""
    noise = torch.rand(bundle.noise_shape, generator=generator)
    after = bundle.update(state, sums, noise, torch.ones(1))
    for name in learner.trainables:
        tensor = stored_in(name)
        if after[tensor].equal(state[tensor]):
            raise InputError(
                f"a learning step of the exported program does not change {tensor}: it was baked "
                "into the program; nothing is written"
            )


def _check_file(path: Path, program: Program, state: LearnerState) -> None:
    """Raise `InputError` unless a state comes back from its file bit for bit."""
    file = path.with_suffix(".safetensors")
    save_state(file, state, program.manifest.state_info(("a", "b")[: program.manifest.classes], {}))
    _check_equal("state file", load_state(file)[0], state)
