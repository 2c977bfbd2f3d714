"""Figures under the name and the colour that they have on a page."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Series"]

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Series(Generic[Kind]):
    """Figures of one result; the page has a colour and a dash for every number."""

    label: str
    colour: int
    dash: int
    figures: Kind
