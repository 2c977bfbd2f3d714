"""Which state a command goes on from, and that it is the only one to write it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click

from mobile.cli.option_groups import option
from mobile.cli.options import print_note
from mobile.cli.parameters import FilePath

__all__ = ["FoundStateOptions", "WriterOptions", "default_state"]


def default_state(bundle: Path) -> Path:
    """Return where `learn` writes what a bundle has learnt if it is not told."""
    return bundle.with_suffix(".safetensors")


@dataclass(frozen=True)
class FoundStateOptions:
    """The state that was named, or that `learn` wrote beside the bundle."""

    state: Path | None = option(
        "--state",
        type=FilePath(),
        help="What has been learnt; default: the bundle's name with .safetensors if there is such "
        "a file, else the state in the bundle.",
    )
    no_state: bool = option(
        "--no-state", is_flag=True, help="Begin with what the bundle itself knows."
    )

    def find(self, bundle: Path) -> Path | None:
        """Return the state to go on from, None for the one in the bundle."""
        from cbpnet.run.previous_state import state_exists

        if self.no_state and self.state is not None:
            raise click.UsageError("--no-state is for doing without a state, and --state names one")
        if self.no_state or self.state is not None:
            return self.state
        found = default_state(bundle)
        if not state_exists(found):
            return None
        print_note(f"goes on from {found}, which lies beside the bundle; --no-state leaves it out")
        return found


@dataclass(frozen=True)
class WriterOptions:
    """How long another writer of the state is waited for."""

    wait: float = option(
        "--wait",
        type=click.FloatRange(min=0),
        default=60,
        show_default=True,
        help="Seconds to wait for another program that is writing the state.",
    )

    def writing(self, state: Path) -> AbstractContextManager[None]:
        """Be the only writer of a state file, from before it is read until it is written."""
        from mobile.device.state_lock import writing

        return writing(state, self.wait, print_note)
