"""Tables that a person reads: the first columns hold words and stand left, the others numbers."""

from collections.abc import Sequence
from statistics import fmean, stdev

from tabulate import tabulate

__all__ = ["markdown_table", "mean_and_spread", "plain_table"]

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


def mean_and_spread(values: Sequence[float], sign: str = "") -> str:
    """Return the mean of some values and, of several, their sample standard deviation, as a cell.

    With ``sign`` "+" the mean always shows its sign.
    """
    mean = f"{fmean(values):{sign}.2f}"
    return f"{mean} ± {stdev(values):.2f}" if len(values) > 1 else mean


def _sides(header: _Cells, words: int) -> list[str]:
    return ["left"] * words + ["right"] * (len(header) - words)
