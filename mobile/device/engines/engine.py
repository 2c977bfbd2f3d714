"""What a bundle's program asks of the engine that runs it."""

from collections.abc import Sequence
from typing import Protocol

from cbpnet.host.arrays import Array

__all__ = ["Engine", "EngineError", "LoadedProgram"]


class EngineError(Exception):
    """An engine refuses a program or a call; the message says why, without a name of a file."""


class LoadedProgram(Protocol):
    """A program in an engine; a method is loaded when it first runs.

    Its memory is given back when nothing refers to it any more.
    """

    def run(self, method: str, arrays: Sequence[Array]) -> list[Array]:
        """Run a method on arrays of its signature, and return copies of what it gives.

        The arrays are in C's order and may be written to, although nothing does. Only one call may
        run at a time in a process: all programs share ExecuTorch's threads and XNNPACK's working
        memory.

        Raises:
            EngineError: the engine lacks what the method needs, or the method fails.
        """


class Engine(Protocol):
    """A runtime that is installed; there is one of each in a process.

    Attributes:
        name: as ``--engine`` takes it, the package's name.
        versions: of what it consists of, by package.
    """

    name: str
    versions: dict[str, str]

    def get_threads(self) -> int:
        """Return how many threads compute a method."""

    def set_threads(self, count: int) -> None:
        """Set how many threads compute a method, at least 1.

        No program may be loaded: its methods would go on with threads that are gone.
        """

    def load(self, path: str) -> LoadedProgram:
        """Load a verified program.

        Raises:
            EngineError: the engine does not read it.
        """
