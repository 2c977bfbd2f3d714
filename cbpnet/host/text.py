"""Numbers and lists in words."""

from collections.abc import Sequence

__all__ = ["counted", "listed"]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first names and how many others there are, "a, b and 3 more"; "none" of none."""
    others = len(names) - most
    return (", ".join(names[:most]) or "none") + (f" and {others} more" if others > 0 else "")


def counted(number: int, noun: str) -> str:
    """Return "1 board", "3 boards" or "2 classes", from the noun in the singular."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
