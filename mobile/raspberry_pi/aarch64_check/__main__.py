"""``python -m mobile.raspberry_pi.aarch64_check``: the check as a command; see docs/aarch64.md."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from mobile.raspberry_pi.aarch64_check.check import (
    Board,
    BoardError,
    check_conformance,
    check_session,
    measure_learning,
)
from mobile.raspberry_pi.aarch64_check.downloads import UnavailableError
from mobile.raspberry_pi.aarch64_check.emulated_board import PROCESSORS
from mobile.raspberry_pi.aarch64_check.material import (
    MaterialError,
    export_vit_tiny,
    get_vectors,
    make_lesson,
)
from mobile.raspberry_pi.aarch64_check.systems import SYSTEMS, get_emulator, install

_BOARDS = tuple(f"{system}/{processor}" for system in SYSTEMS for processor in PROCESSORS)
# The longest first; torch, which takes long to start, goes with one processor.
_USUAL = ("trixie/cortex-a53", "bookworm/cortex-a76", "trixie/cortex-a72", "trixie/cortex-a76")
_COURSES = ("one_pass_int8", "tasks_int8")  # of the sessions that are killed
_SMALL = "trixie/cortex-a53"  # a Zero 2 W, with 512 MB
_MB_ALLOWED = 300
_TIMEOUT = 45 * 60  # seconds for one run on one board, beside other work too


@dataclass(frozen=True)
class _Material:
    """The vectors, the bundle whose `learn` is measured, its lesson, and a folder for states."""

    vectors: Path
    bundle: Path
    lesson: Path
    states: Path


@click.command()
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".cache", "aarch64"),
    show_default=True,
    help="Folder for what is downloaded, 1.5 GB for each set of versions.",
)
@click.option(
    "--board",
    "names",
    type=click.Choice(_BOARDS),
    multiple=True,
    default=_USUAL,
    show_default=True,
    help="What is emulated; may be repeated.",
)
@click.option(
    "--flip-sign",
    metavar="TENSOR",
    help="Plant a fault in the boards' sessions, to see the check fail: turn the gradient of a "
    "tensor round, prompts.g for instance.",
)
def main(cache: Path, names: tuple[str, ...], flip_sign: str | None) -> None:
    """Check that emulated Raspberry Pis learn what this machine learns.

    Exits 0 where they do, and where what it needs cannot be had, which it then says; 1 where they
    do not.
    """
    start = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - start:4.0f} s] {line}")

    try:
        boards = _get_boards(names, cache.resolve(), say)
    except UnavailableError as error:
        click.echo(f"aarch64 check skipped: {error}")
        return
    options = [f"--flip-sign={flip_sign}"] if flip_sign else []
    with TemporaryDirectory() as folder:
        material = _make_material(Path(folder), _SMALL in names, say)

        def check(name: str) -> bool:
            return _check(name, boards[name], material, options, say)

        say(f"learning on {', '.join(names)}, emulated")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = dict(zip(names, pool.map(check, names), strict=True))
    wrong = [name for name, right in outcomes.items() if not right]
    if wrong:
        say(f"aarch64 check failed on {', '.join(wrong)}")
        sys.exit(1)
    say(f"aarch64 check passed on {', '.join(outcomes)}")


def _get_boards(
    names: tuple[str, ...], cache: Path, say: Callable[[str], None]
) -> dict[str, Board]:
    """Return boards by name, with all that is downloaded for them."""
    emulator = get_emulator(cache, say)
    suites = dict.fromkeys(name.partition("/")[0] for name in names)
    boards = {suite: install(SYSTEMS[suite], emulator, cache, say) for suite in suites}
    return {
        name: boards[suite][processor]
        for name in names
        for suite, _, processor in [name.partition("/")]
    }


def _make_material(folder: Path, measured: bool, say: Callable[[str], None]) -> _Material:
    """Return what boards are given, made in a folder; a ViT-Ti only if its memory is measured."""
    say("exporting bundles, and learning on this machine")
    bundle = folder / "vit_tiny.pte"
    with ThreadPoolExecutor() as pool:
        exported = pool.submit(lambda: measured and export_vit_tiny(bundle))
        try:
            vectors = get_vectors(folder / "vectors")
            if not exported.result():
                bundle = vectors / _COURSES[0] / "bundle.pte"
        except MaterialError as error:
            say(f"nothing to learn from:\n{error}")
            sys.exit(1)
    make_lesson(vectors / _COURSES[0], folder / "lesson")
    return _Material(vectors, bundle, folder / "lesson", folder / "states")


def _check(
    name: str, board: Board, material: _Material, options: list[str], say: Callable[[str], None]
) -> bool:
    """Return whether a board passes, having said what it did."""
    suite = name.partition("/")[0]
    states = material.states / suite / name.rpartition("/")[2]
    faults = []
    try:
        tests = check_conformance(board, SYSTEMS[suite].engine, material.vectors, _TIMEOUT)
        say(f"{name} conformance: {tests}")
        for course in _COURSES:
            distance = check_session(
                board, material.vectors / course, states / course, _TIMEOUT, options
            )
            say(f"{name} {course}: {distance}")
            faults += [f"{course}: {fault}" for fault in distance.faults()]
        if name == _SMALL:
            out = states / "learnt.safetensors"
            peak = measure_learning(board, material.bundle, material.lesson, out, _TIMEOUT)
            say(f"{name} learn: {peak:.0f} MB at most, the emulator's own among them")
            if peak > _MB_ALLOWED:
                faults.append(f"learn holds {peak:.0f} MB, at most {_MB_ALLOWED} is right")
    except BoardError as error:
        faults.append(str(error))
    for fault in faults:
        say(f"{name}: WRONG: {fault}")
    return not faults


if __name__ == "__main__":
    main()
