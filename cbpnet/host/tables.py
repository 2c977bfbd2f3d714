"""Tables that a person reads: the first columns hold words and stand left, the others numbers."""

from collections.abc import Sequence

from tabulate import tabulate

__all__ = ["markdown_table", "plain_table"]

_Cells = Sequence[str]


def markdown_table(header: _Cells, rows: Sequence[_Cells], words: int = 1) -> str:
    """Return a Markdown table, aligned so that it also reads in a terminal.

    ``words`` is the number of columns that stand left.
    """
    sides = _sides(header, words)
    return tabulate(rows, header, tablefmt="pipe", colalign=sides, disable_numparse=True)


def plain_table(header: _Cells, rows: Sequence[_Cells], words: int = 1) -> str:
    """Return a table for a terminal, its columns two spaces apart; ``words`` of them stand left."""
    # As a row the header is not padded.
    table, sides = [header, *rows], _sides(header, words)
    return tabulate(table, tablefmt="plain", colalign=sides, disable_numparse=True)


def _sides(header: _Cells, words: int) -> list[str]:
    return ["left"] * words + ["right"] * (len(header) - words)
