"""The console command ``cbpnet-mobile``; each subcommand is a file of this folder."""

import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from cbpnet.host.errors import InputError
from cbpnet.host.text import printable
from mobile.cli.ending import STOPPED, Stopped, in_a_child, leave_at_once, stoppable
from mobile.cli.parameters import close_to

__all__ = ["COMMANDS", "main"]

# Each command is the function of the same name in the file of the same name.
COMMANDS = {
    "bench": "Measure how fast a bundle learns and classifies here, and in how much memory.",
    "benchmark": "Compare methods task after task on the same images, and write the report.",
    "demo": "Export a network that knows the digits 0 to 4, and let the program learn 5 to 9.",
    "evaluate": "Test a bundle on images; or learn a data set through it, task after task.",
    "export": "Write a bundle: one .pte file that classifies, and learns new classes, on a device.",
    "forget": "Forget a class, as if it had never been taught.",
    "history": "List the lessons and corrections of a state, the oldest first.",
    "inspect": "Show what a bundle or a state holds; nothing of a bundle is run.",
    "keygen": "Make a pair of keys: one signs bundles and states, the other tells that it did.",
    "latency": "Measure how fast, how hot and how hungry a bundle is on this board.",
    "learn": "Learn a folder of class folders on the device, and write the state.",
    "merge": "Make the states of several devices one, as if one device had learnt everything.",
    "move": "Take the classes of an older state over into a bundle that learns in one pass.",
    "plasticity": "Learn a long stream of two-class tasks with block and head alone, on frozen "
    "features.",
    "predict": "Classify images with a bundle and what it has learnt.",
    "presets": "List the presets: backbone, both learners, and how much of it is trained.",
    "redo": "Have what was undone last in force again.",
    "relabel": "Make pictures that were taught, or all of a class, those of another class.",
    "rename": "Give a class another name.",
    "report": "Put the results of boards side by side on one page that needs no network.",
    "sensitivity": "Find what a target with static int8 must keep in fp32.",
    "sign": "Sign a bundle or a state: the signature stands beside it.",
    "stream": "Learn a long stream of small lessons whose domain changes, and report what is still "
    "learnt.",
    "targets": "List the targets of export: what each runs on, what was verified how.",
    "train": "Learn the classes of a data set, task after task, and write the learner's state.",
    "trust": "Accept who signed a bundle, or say whose bundles are trusted here.",
    "undo": "Take back the last lesson or correction; again, the one before it.",
    "watch": "Learn every lesson that is put into a folder, until it is stopped.",
}

# What torchao says of itself whenever it is imported, by logger: the GPU kernels that it has no use
# for here, and a call of its own that torch finds old.
_NOISE = {"torchao": "Failed to load ", "torch.utils._pytree": "<enum 'KernelPreference'> is an "}

# What brings a package that is not installed, where that is not the exporter's extra.
_EXTRAS = {"minisign": "sign"}


class _Group(click.Group):
    """Loads a command when it is called, for a device has no timm.

    A command imports torch and what it works with when it runs, so that no help waits for them.

    Turns bad input into one sentence and exit status 1; click itself exits 2 on wrong usage. What
    the terminal's encoding lacks is printed as an escape.
    """

    def __call__(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """Run a command; the process's own, which is not given, is run in a child process."""
        if args is not None:
            return super().__call__(args, **kwargs)
        # No process that is started imports from the working directory, where anything may lie.
        os.environ["PYTHONSAFEPATH"] = "1"
        in_a_child()
        with leave_at_once():
            return super().__call__(**kwargs)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mobile.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            ctx.fail(error.message + close_to(args[0], list(COMMANDS)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        for logger in _NOISE:
            logging.getLogger(logger).addFilter(_is_no_noise)
        try:
            with stoppable():
                return super().invoke(ctx)
        except InputError as error:
            click.echo(f"error: {printable(str(error))}", err=True)
            sys.exit(1)
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get(error.name or "", "export")
            click.echo(
                f"error: this command needs the package {error.name}, which is not installed here; "
                f"pip install 'cbpnet-mobile[{extra}]' brings it",
                err=True,
            )
            sys.exit(1)
        except (KeyboardInterrupt, Stopped) as stop:
            click.echo(STOPPED, err=True)
            sys.exit(stop.status if isinstance(stop, Stopped) else 128 + signal.SIGINT)


def _is_no_noise(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOISE[record.name])


@click.group(
    cls=_Group,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="cbpnet-mobile", message="%(package)s %(version)s")
def main() -> None:
    """Learn new classes on a frozen vision transformer, task after task, without forgetting."""
