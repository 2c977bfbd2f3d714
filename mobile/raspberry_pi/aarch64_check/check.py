"""What a board has to show: the conformance suite, a session that is killed, and little memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cbpnet.run.state_file import load_state
from mobile.device.engines.choice import ENGINE_VARIABLE
from mobile.raspberry_pi.aarch64_check import session
from mobile.raspberry_pi.aarch64_check.comparison import Distance, measure
from mobile.raspberry_pi.aarch64_check.emulated_board import CHECKOUT

__all__ = [
    "Board",
    "BoardError",
    "ThisMachine",
    "check_conformance",
    "check_session",
    "measure_learning",
]

_LAST_WORDS = 2000  # characters of what a module printed

_SUITE = CHECKOUT / "tests" / "mobile" / "device" / "engines"
# Without a binfmt no emulated program starts another one, as one test does. Each replay with a
# planted fault takes as long as one without: they are left to one of the four courses.
_CHOSEN = "not starts_with and (not turns or tasks_int8)"


class Board(Protocol):
    """What runs a module with this checkout."""

    def run_module(
        self,
        module: str,
        arguments: Sequence[str | Path],
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a module, and return what it printed and how it ended."""


class ThisMachine:
    """The Python that runs this, as a board."""

    def run_module(
        self,
        module: str,
        arguments: Sequence[str | Path],
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a module, and return what it printed and how it ended."""
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )


class BoardError(Exception):
    """What ran on a board did not end as it should; the message says how it did."""


def check_conformance(
    board: Board, engine: str, vectors: Path, timeout: float | None = None
) -> str:
    """Run the engines' conformance suite on a board, with planted faults that it has to find.

    Args:
        board: where it runs.
        engine: the one that is installed there.
        vectors: folder that android_demo/conformance/write_vectors.py wrote.
        timeout: seconds that it may take; any number without it.

    Returns:
        pytest's last line.

    Raises:
        BoardError: a test fails, or the engine is not there.
    """
    environment = {ENGINE_VARIABLE: engine, "CBPNET_VECTORS": str(vectors)}
    alone = ["-p", "no:cacheprovider", f"--rootdir={CHECKOUT}", f"--confcutdir={_SUITE}"]
    files = [_SUITE / name for name in ("test_conformance.py", "test_engines.py")]
    printed = _run(board, "pytest", [*alone, "-k", _CHOSEN, *files], timeout, environment)
    return printed.splitlines()[-1].strip(" =")


def check_session(
    board: Board,
    course: Path,
    out: Path,
    timeout: float | None = None,
    options: Sequence[str] = (),
) -> Distance:
    """Run a session on a board, kill it while it learns, go on, and compare.

    Args:
        board: where it runs.
        course: one of the conformance suite's.
        out: folder for what the board writes.
        timeout: seconds that each of the two runs may take; any number without it.
        options: more options of the session.

    Returns:
        How far it is from what was written down of the course.

    Raises:
        BoardError: a run did not end as it should.
    """
    arguments: list[str | Path] = [course, out, *options]
    _run(board, session.__name__, [*arguments, "--killed"], timeout, status=-signal.SIGKILL)
    lessons = load_state(out / session.STATE)[1].progress["lessons"]
    if lessons != session.KILLED_LESSON:
        raise BoardError(
            f"killed in its lesson {session.KILLED_LESSON + 1}, the session left a state of "
            f"{lessons}; {session.KILLED_LESSON} would be right"
        )
    _run(board, session.__name__, arguments, timeout)
    return measure(out, course)


def measure_learning(
    board: Board, bundle: Path, pictures: Path, out: Path, timeout: float | None = None
) -> float:
    """Return the most memory that `cbpnet-mobile learn` holds on a board, in MB, emulator and all.

    Args:
        board: where it runs.
        bundle: what learns.
        pictures: a folder of class folders.
        out: the state file to write.
        timeout: seconds that it may take; any number without it.

    Raises:
        BoardError: it did not end as it should.
    """
    # More epochs take more time, and no more memory.
    options = [f"--images={pictures}", "--epochs=1", f"--out={out}", "--json"]
    outcome = json.loads(_run(board, "mobile", ["learn", bundle, *options], timeout))
    peak: float = outcome["peak_rss_mb"]
    return peak


def _run(
    board: Board,
    module: str,
    arguments: Sequence[str | Path],
    timeout: float | None,
    environment: Mapping[str, str] | None = None,
    status: int = 0,
) -> str:
    """Return what a module prints; it should end with an exit status, a signal's being negative."""
    try:
        result = board.run_module(module, arguments, timeout, environment)
    except subprocess.TimeoutExpired as error:
        raise BoardError(f"{module} had not ended after {timeout:.0f} s") from error
    if result.returncode != status:
        raise BoardError(
            f"{module} ended with status {result.returncode}, {status} would be right; it "
            f"printed:\n{(result.stdout + result.stderr)[-_LAST_WORDS:]}"
        )
    return result.stdout
