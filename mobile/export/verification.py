"""A bundle that was just written, run and compared with PyTorch before it gets its name."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.layout import STATE, stored_in, unprefixed
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import HostState
from cbpnet.run.state_file import load_state, save_state
from mobile.device.program import Program
from mobile.export.bundle_learner import BundleLearner
from mobile.export.comparison import Agreement, Patterns, check_equal
from mobile.export.one_pass_comparison import compare_one_pass
from mobile.export.split_learner import SplitLearner, SplitOnePassLearner
from mobile.export.task_comparison import compare_tasks

__all__ = ["verify"]

_SEED = 0
_IMAGES = 4
# Random patterns this coarse are to a backbone like photographs; white noise is like nothing that
# it was trained on, and there its gradients turn with every number that is rounded otherwise.
_PATTERN = 8
# The least cosine between what the bundle and PyTorch compute. Both round to int8 where they do,
# but XNNPACK rounds a tie or a scale's last bit otherwise, and later layers amplify it: so much
# that PyTorch's own gradients have a cosine of 0.98 to those of images one millionth brighter.
_LEAST = {"fp32": 0.9999, "int8": 0.9}
# The largest difference of a class's score.
_FURTHEST = {"fp32": 1e-3, "int8": 0.5}


def verify(
    path: Path,
    learner: BundleLearner,
    state: HostState,
    precision: str,
    image_size: int,
    forward_runs: bool = True,
) -> Agreement:
    """Run a bundle: predict, learn a step, save and load; compare with an eager ``learner``.

    ``learner`` has the trunk that the bundle was made from, ``state`` is what `initial_state`
    should give. Where ``forward_runs`` is false, what `forward_methods` names is not run: this
    machine has no runtime for it.

    Raises:
        InputError: the bundle's stored state is another, its figures are not PyTorch's, a trainable
            did not change in a step, or a state does not survive its file.
    """
    program = Program(path)
    check_equal("initial_state", unprefixed(STATE, program.call("initial_state", {})), state)
    patterns = _patterns(program, image_size)
    if isinstance(learner, OnePassLearner):
        found = compare_one_pass(program, learner, patterns, forward_runs)
    else:
        found = compare_tasks(program, learner, patterns, forward_runs)
    # An accelerator computes layers of fp32 in what it has, for instance bf16.
    split = isinstance(learner, SplitLearner | SplitOnePassLearner)
    _check_agreement(found.agreement, precision, "int8" if split else precision)
    for name in map(stored_in, found.agreement.gradients):
        if np.array_equal(found.after[name], found.before[name]):  # a delegate may bake one in
            raise InputError(
                f"a learning step of the exported program does not change {name}: it was baked "
                "into the program; nothing is written"
            )
    _check_file(path, program, found.state)
    return found.agreement


def _patterns(program: Program, image_size: int) -> Patterns:
    generator = torch.Generator().manual_seed(_SEED)
    count = max(_IMAGES, program.manifest.micro_batch)
    coarse = torch.randn(count, 3, _PATTERN, _PATTERN, generator=generator)
    images = F.interpolate(coarse, size=image_size, mode="bicubic")
    return Patterns(images.numpy(), np.arange(count) % 2, RandomStream(_SEED, 0))


def _check_agreement(agreement: Agreement, precision: str, forward: str) -> None:
    """Raise `InputError` where a bundle is further from PyTorch than rounding explains."""
    gradients = {f"the gradient of {name}": value for name, value in agreement.gradients.items()}
    for name, cosine in {"the features": agreement.features, **gradients}.items():
        least = _LEAST[precision if name in gradients else forward]
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


def _check_file(path: Path, program: Program, state: HostState) -> None:
    """Raise `InputError` unless a state comes back from its file bit for bit."""
    file = path.with_suffix(".safetensors")
    save_state(file, state, program.manifest.state_info(("a", "b"), {}))
    check_equal("state file", load_state(file)[0], state)
