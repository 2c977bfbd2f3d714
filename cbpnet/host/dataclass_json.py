"""Dataclasses back from the JSON that `dataclasses.asdict` and `json.dumps` make of them."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec

from cbpnet.host.errors import InputError

__all__ = ["from_json", "read_json"]

T = TypeVar("T")


def from_json(kind: type[T], value: Any) -> T:
    """Return a JSON value as a dataclass, or another type that is made of such.

    Each field is what its annotation says. All fields have to be there, those with a default too,
    and no others. A whole number is a float where a float is asked for; a float is never an int.

    Raises:
        InputError: the value is something else. The message says where, what stands there and what
            would be right: "config.cbp.maturity: expected `int`, got `float`".
    """
    try:
        found = msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise InputError(_sentence(place.strip(".`"), reason)) from error
    except UnicodeEncodeError as error:
        raise InputError(
            f"{error.object[:50]!r} holds half a character; right would be whole ones"
        ) from error
    for place, reason in _other_fields(found, value):
        raise InputError(_sentence(place, reason))
    return found


def read_json(kind: type[T], text: str) -> T:
    """Return JSON text as `from_json` does its value.

    Raises:
        InputError: it is no JSON, nested too deeply, or something else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no JSON: {error}") from error
    try:
        return from_json(kind, value)
    except RecursionError as error:
        raise InputError("its JSON is nested too deeply; right would be a few levels") from error


def _other_fields(found: Any, value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield where a dataclass was given a field too many or too few, which msgspec lets pass."""
    if found is value:  # of any type: there are no fields to compare
        return
    if is_dataclass(found):
        names = {field.name for field in fields(found)}
        for name in sorted(names ^ value.keys()):
            odd = "missing required" if name in names else "contains unknown"
            yield place, f"object {odd} field `{name}`"
        parts = {f".{name}": (getattr(found, name), value[name]) for name in names & value.keys()}
    elif isinstance(found, dict):
        parts = {f".{name}": (part, value[name]) for name, part in found.items()}
    elif isinstance(found, tuple):
        parts = {f"[{number}]": pair for number, pair in enumerate(zip(found, value, strict=True))}
    else:
        return
    for name, (part, given) in parts.items():
        yield from _other_fields(part, given, f"{place}{name}".removeprefix("."))


def _sentence(place: str, reason: str) -> str:
    return f"{place}{': ' if place else ''}{reason[:1].lower()}{reason[1:]}"
