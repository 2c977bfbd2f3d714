"""What options and arguments are: files and folders, and one of several words."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["Choice", "FilePath", "close_to"]

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
