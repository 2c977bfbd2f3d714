"""A session on an emulated board, held to the same session on this machine."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cbpnet.run.state_file import load_state
from mobile.raspberry_pi.aarch64_check import session
from mobile.raspberry_pi.aarch64_check.comparison import LIMITS, Distance, measure

__all__ = ["Board", "SessionError", "ThisMachine", "check_board", "run_session"]

_LAST_WORDS = 2000  # characters of what a session printed


class Board(Protocol):
    """What runs a module of this checkout."""

    def run_module(
        self, module: str, arguments: Sequence[str | Path], timeout: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a module, and return what it printed and how it ended."""


class ThisMachine:
    """The Python that runs this, as a board."""

    def run_module(
        self, module: str, arguments: Sequence[str | Path], timeout: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a module, and return what it printed and how it ended."""
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


class SessionError(Exception):
    """A session did not end as it should; the message says how it did."""


def check_board(
    board: Board,
    material: Path,
    reference: Path,
    out: Path,
    timeout: float | None = None,
    options: Sequence[str] = (),
) -> dict[str, Distance]:
    """Run the sessions on a board, kill them while they learn, go on, and compare.

    Args:
        board: where they run.
        material: folder of a bundle for each precision of `LIMITS`, and of `pictures`.
        reference: folder of what `run_session` wrote on this machine.
        out: folder for what the board writes.
        timeout: seconds that each of the two runs may take; any number without it.
        options: more options of the session.

    Returns:
        The distance of each precision's session.

    Raises:
        SessionError: one did not end as it should.
    """
    run_session(board, material, out, timeout, [*options, "--killed"], -signal.SIGKILL)
    _check_first_lesson(out / list(LIMITS)[-1] / session.STATE)  # the last session is killed
    run_session(board, material, out, timeout, options)
    return {name: measure(out / name, reference / name) for name in LIMITS}


def run_session(
    board: Board,
    material: Path,
    out: Path,
    timeout: float | None = None,
    options: Sequence[str] = (),
    status: int = 0,
) -> None:
    """Run the sessions on a board; they should end with an exit status, a signal's being negative.

    Raises:
        SessionError: they end with another one, or not within the ``timeout`` in seconds.
    """
    bundles = [material / f"{precision}.pte" for precision in LIMITS]
    try:
        result = board.run_module(
            session.__name__, [material / "pictures", out, *bundles, *options], timeout
        )
    except subprocess.TimeoutExpired as error:
        raise SessionError(f"the session had not ended after {timeout:.0f} s") from error
    if result.returncode != status:
        raise SessionError(
            f"the session ended with status {result.returncode}, {status} would be right; it "
            f"printed:\n{(result.stdout + result.stderr)[-_LAST_WORDS:]}"
        )


def _check_first_lesson(state: Path) -> None:
    lessons = load_state(state)[1].progress["lessons"]
    if lessons != 1:
        raise SessionError(
            f"killed in its second lesson, the session left a state of {lessons} lessons; 1 would "
            "be right"
        )
