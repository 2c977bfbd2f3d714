"""Figures under the name and the colour that they have on a page."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Series"]

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Series(Generic[Kind]):
    """Figures of one result; ``colour`` is a number that the page has a colour for."""

    label: str
    colour: int
    figures: Kind
