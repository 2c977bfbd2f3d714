"""The console command ``cbpnet-mobile``; each subcommand is a file of this folder."""

import sys

import click

from cbpnet.errors import InputError
from mobile.cli.benchmark import benchmark
from mobile.cli.demo import demo
from mobile.cli.plasticity import plasticity
from mobile.cli.presets import presets
from mobile.cli.train import train

__all__ = ["main"]


class _Group(click.Group):
    """Turns bad input into one sentence and exit status 1; click itself exits 2 on wrong usage."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "stopped; benchmark and train, run again, go on from what was finished", err=True
            )
            sys.exit(130)


@click.group(cls=_Group, context_settings={"max_content_width": 100})
@click.version_option(package_name="cbpnet-mobile")
def main() -> None:
    """Learn new classes on a frozen vision transformer, task after task, without forgetting."""


for command in (benchmark, demo, plasticity, presets, train):
    main.add_command(command)
