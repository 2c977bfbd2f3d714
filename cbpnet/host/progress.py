"""Progress of long work: a bar on a terminal, and a line at its beginning where there is none."""

import sys
from collections.abc import Iterator, Sequence
from typing import Never, TypeVar

from tqdm import tqdm

from cbpnet.host.text import counted

__all__ = ["expect", "progress_bar", "with_progress"]

_Item = TypeVar("_Item")


def progress_bar(title: str, total: int, unit: str = "image") -> "tqdm[Never]":
    """Return a bar of ``total`` steps on standard error, a context manager with ``update``.

    Where standard error is a file or a pipe, nothing is drawn and a line says what begins.
    """
    if not sys.stderr.isatty():
        print(f"{title}: {counted(total, unit)}", file=sys.stderr, flush=True)
    return tqdm(total=total, desc=title, unit=unit, mininterval=1.0, disable=None)


def expect(bar: "tqdm[Never]", remaining: int) -> None:
    """Tell a bar how much is still to come, where its total was a bound."""
    bar.total = bar.n + remaining
    bar.refresh()


def with_progress(items: Sequence[_Item], title: str, unit: str = "image") -> Iterator[_Item]:
    """Yield the items while a `progress_bar` counts those that are done with."""
    with progress_bar(title, len(items), unit) as bar:
        for item in items:
            yield item
            bar.update()
