"""What the commands share that correct a state: read, change and write it as one step."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cbpnet.host.text import counted, listed, printable
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.option_groups import option
from mobile.cli.options import print_json
from mobile.cli.state_options import FoundStateOptions, WriterOptions, default_state

if TYPE_CHECKING:
    from cbpnet.run.journal import Event
    from mobile.device.runtime import OnDeviceLearner

__all__ = ["CorrectionOptions", "event_json", "event_sentence", "event_time"]

_CORRECTED = {
    "forget": "forgot {label}",
    "rename": "renamed {label} to {new}",
    "merge": "merged {label} into {new}",
    "relabel": "made {pictures} {new}",
}


@dataclass(frozen=True)
class CorrectionOptions(FoundStateOptions, WriterOptions):
    """The state that is corrected."""

    as_json: bool = option("--json", is_flag=True, help="Print the outcome as JSON.")

    def correct(
        self,
        bundle: BundleOptions,
        change: "Callable[[OnDeviceLearner], Event]",
        said: str = "",
        back: str = "undo",
    ) -> None:
        """Change what a state knows, write it, and print what changed and how to take it back.

        ``change`` returns the event that it was; ``said`` stands before it in words, and the
        command ``back`` takes it back, if any does.
        """
        out = self.state or default_state(bundle.path)
        with self.writing(out):
            learner = bundle.learner(self.find(bundle.path), pictures=True)
            before = learner.images
            event = change(learner)
            learner.save(out)
            if not back:  # for good: the state before does not know it either then
                learner.save(out)
        after = learner.images
        if self.as_json:
            found = {"state": str(out), "event": event_json(event), "classes": after}
            print_json(found)
            return
        click.echo(f"{said}{event_sentence(event)}")
        for line in _changes(before, after):
            click.echo(f"  {line}")
        click.echo(f"wrote {out}: {counted(len(after), 'class')}")
        if not back:
            return
        command = ["cbpnet-mobile", back, str(bundle.path), "--state", str(out)]
        click.echo(f"take it back: {shlex.join(command)}")


def event_sentence(event: "Event") -> str:
    """Return what was taught or corrected, in words."""
    from cbpnet.run.journal import Edit
    from cbpnet.run.lesson import ADAPTING

    if isinstance(event, Edit):
        pictures = counted(len(event.pictures), "picture")
        return _CORRECTED[event.kind].format(label=event.label, new=event.new, pictures=pictures)
    taught = listed([f"{n} {name}" for name, n in zip(event.names, event.counts, strict=True)])
    source = f" from {printable(event.source)}" if event.source else ""
    adapted = "; the features were adapted" if event.reason in ADAPTING else ""
    return f"taught {taught}{source}{adapted}"


def event_json(event: "Event") -> dict[str, Any]:
    """Return what was taught or corrected, without features."""
    from cbpnet.run.journal_file import event_json

    return event_json(event) | {"time": event_time(event)}


def event_time(event: "Event") -> str:
    """Return when it was, in ISO 8601, UTC."""
    return datetime.fromtimestamp(event.time, UTC).isoformat()


def _changes(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return how many images each class that changed has had and has."""
    return [
        f"{name}: {_images(before.get(name))} -> {_images(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _images(count: int | None) -> str:
    return "not known" if count is None else counted(count, "image")
