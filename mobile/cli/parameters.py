"""What options and arguments are: files and folders, and one of several words."""

import difflib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["Choice", "FilePath", "Megabytes", "close_to"]

_RESEMBLES = 0.7  # share of two words that is alike


class FilePath(click.Path):
    """A `pathlib.Path`, in which ``~`` at the beginning is the home folder.

    A shell replaces it only where it begins a word, and not in ``--out=~/x``.
    """

    def __init__(self, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        # As the shell does, it leaves a user alone whom nobody knows.
        return super().convert(os.path.expanduser(value), param, ctx)  # noqa: PTH111


class Megabytes(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no parameter for it
    """A size in megabytes, 10^6 bytes, as a number of bytes; "off" is 0."""

    name = "megabytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            size = 0.0 if value == "off" else float(value)
        except ValueError:
            size = -1.0
        if not 0 <= size < math.inf:
            self.fail(f"{value!r}; right would be off, or megabytes of at least 0", param, ctx)
        return round(1e6 * size)


class Choice(click.Choice):  # type: ignore[type-arg]  # click 8.1 has no parameter for it
    """One of several words; a misspelt one is answered with the closest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise click.BadParameter(
                error.message + close_to(str(value), self.choices), ctx, param
            ) from error


def close_to(word: str, known: Sequence[str]) -> str:
    """Return a question that names the known words which one resembles; nothing if none does."""
    found = difflib.get_close_matches(word, known, cutoff=_RESEMBLES)
    return f" Did you mean {' or '.join(found)}?" if found else ""
