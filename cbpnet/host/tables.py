"""Tables that a person reads."""

from collections.abc import Sequence

from tabulate import tabulate

__all__ = ["aligned_table"]


def aligned_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1, style: str = "plain"
) -> str:
    """Return a table whose first ``words`` columns stand left, and the others, numbers, right.

    ``style`` is one of tabulate's formats: "plain" for a terminal, "pipe" for Markdown that also
    reads in one.
    """
    sides = ["left"] * words + ["right"] * (len(header) - words)
    return tabulate(rows, header, tablefmt=style, colalign=sides, disable_numparse=True)
