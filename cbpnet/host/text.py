"""Numbers and lists in words, and text that any terminal shows."""

import unicodedata
from collections.abc import Sequence

__all__ = ["counted", "listed", "printable"]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first names and how many others there are, "a, b and 3 more"; "none" of none."""
    others = len(names) - most
    first = ", ".join(map(printable, names[:most])) or "none"
    return first + (f" and {others} more" if others > 0 else "")


def printable(text: str) -> str:
    """Return text with control characters and bytes that are no UTF-8 as escapes.

    What comes from a file's name or another host's state cannot move the cursor then, or end a
    line.
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        else char
        for char in text
    )


def counted(number: int, noun: str) -> str:
    """Return "1 board", "3 boards" or "2 classes", from the noun in the singular."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
