"""Progress of a long command: its stages by number, their seconds, and roughly what remains."""

import time
from collections.abc import Mapping
from typing import Self

import click

__all__ = ["Stages"]

_ENOUGH = 0.05  # share of the work after which its speed says something


class Stages:
    """Prints each stage as it begins, and its seconds as it ends, on stderr; a context manager.

    ``shares`` names the stages in order and the share of the whole that each usually takes, in any
    unit. What remains is estimated from the time so far; shares differ from one machine and
    backbone to another, so that it may be wrong by a factor of two.

    Attributes:
        seconds: by title, the seconds of the stages that have ended.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.seconds: dict[str, float] = {}
        self._shares = dict(shares)
        self._title: str | None = None
        self._start = self._begin = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is None:
            self._end()
        elif self._title is not None:
            click.echo(err=True)  # what is to be said of the failure has a line of its own

    def __call__(self, title: str) -> None:
        """Begin a stage, and end the one before."""
        self._end()
        number = 1 + list(self._shares).index(title)
        click.echo(
            f"[{number}/{len(self._shares)}] {title}{self._remaining(title)} ... ",
            nl=False,
            err=True,
        )
        self._title, self._begin = title, time.perf_counter()

    def _end(self) -> None:
        if self._title is not None:
            self.seconds[self._title] = time.perf_counter() - self._begin
            click.echo(f"{self.seconds[self._title]:.1f} s", err=True)
        self._title = None

    def _remaining(self, title: str) -> str:
        titles = list(self._shares)
        done = sum(self._shares[earlier] for earlier in titles[: titles.index(title)])
        total = sum(self._shares.values())
        if done < _ENOUGH * total:
            return ""
        seconds = (time.perf_counter() - self._start) * (total - done) / done
        return f" (about {seconds:.0f} s to go)"
