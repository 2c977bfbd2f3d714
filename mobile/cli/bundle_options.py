"""What the commands on a bundle share."""

from pathlib import Path

import click
import torch

from mobile.device.program import Program, set_threads
from mobile.device.runtime import OnDeviceLearner

__all__ = [
    "batch_size_option",
    "bundle_argument",
    "epochs_option",
    "open_learner",
    "open_program",
    "threads_option",
]

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))

threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="ExecuTorch's threads; default: the fast cores."
)

epochs_option = click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Passes over a lesson's images.",
)

batch_size_option = click.option(
    "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
)


def open_program(bundle: Path, threads: int | None) -> Program:
    """Open a bundle."""
    _use_threads(threads)
    return Program(bundle)


def open_learner(bundle: Path, state: Path | None, threads: int | None) -> OnDeviceLearner:
    """Open a bundle, and the state to go on from if there is one."""
    _use_threads(threads)
    return OnDeviceLearner(bundle, state)


def _use_threads(threads: int | None) -> None:
    # ExecuTorch has a pool of its own. Torch's only computes what the delegates left, products too
    # small to share out, and on a busy machine its threads wait for one another most of the time.
    torch.set_num_threads(1)
    if threads is not None:
        set_threads(threads)
