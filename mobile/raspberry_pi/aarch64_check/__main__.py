"""``python -m mobile.raspberry_pi.aarch64_check``: the check as a command; see docs/aarch64.md."""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

from mobile.raspberry_pi.aarch64_check.check import (
    SessionError,
    ThisMachine,
    check_board,
    run_session,
)
from mobile.raspberry_pi.aarch64_check.comparison import LIMITS
from mobile.raspberry_pi.aarch64_check.downloads import UnavailableError
from mobile.raspberry_pi.aarch64_check.emulated_board import PROCESSORS, EmulatedBoard, install

_TIMEOUT = 15 * 60  # seconds for the sessions on one board
_NOISY = ("torchao", "torch.utils._pytree")  # warn of GPU kernels whenever they are imported


@click.command()
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".cache", "aarch64"),
    show_default=True,
    help="Folder for what is downloaded, 1.3 GB for each set of versions.",
)
@click.option(
    "--flip-sign",
    metavar="TENSOR",
    help="Plant a fault on the emulated boards, to see the check fail: turn the gradient of a "
    "tensor round, block.w_in for instance.",
)
def main(cache: Path, flip_sign: str | None) -> None:
    """Check that an emulated Raspberry Pi 5 and 4 learn what this machine learns.

    Exits 0 where they do, and where what it needs cannot be had, which it then says; 1 where they
    do not.
    """
    start = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - start:4.0f} s] {line}")

    try:
        system = install(cache.resolve(), say)
    except UnavailableError as error:
        click.echo(f"aarch64 check skipped: {error}")
        return
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    from mobile.raspberry_pi.aarch64_check.material import make_bundles, make_pictures

    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        material = Path(folder)
        say("exporting a micro ViT in fp32 and int8")
        make_pictures(material / "pictures")
        make_bundles(material)
        say("learning on this machine")
        reference = material / "reference"
        run_session(ThisMachine(), material, reference, _TIMEOUT)

        def check(processor: str) -> bool:
            board, out = EmulatedBoard(system, processor), material / processor
            options = [f"--flip-sign={flip_sign}"] if flip_sign else []
            try:
                distances = check_board(board, material, reference, out, _TIMEOUT, options)
            except SessionError as error:
                say(f"{processor}: WRONG: {error}")
                return False
            faults = []
            for precision, distance in distances.items():
                say(f"{processor} {precision}: {distance}")
                for fault in distance.faults(LIMITS[precision]):
                    say(f"{processor} {precision}: WRONG: {fault}")
                    faults.append(fault)
            return not faults

        say(f"learning on {' and '.join(PROCESSORS)}, emulated")
        with ThreadPoolExecutor() as pool:
            outcomes = dict(zip(PROCESSORS, pool.map(check, PROCESSORS), strict=True))
    wrong = [processor for processor, right in outcomes.items() if not right]
    if wrong:
        say(f"aarch64 check failed on {' and '.join(wrong)}")
        sys.exit(1)
    say(f"aarch64 check passed on {' and '.join(outcomes)}")


if __name__ == "__main__":
    main()
