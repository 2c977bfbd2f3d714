"""Dataclasses back from the JSON that `dataclasses.asdict` and `json.dumps` make of them."""

from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["from_json"]


def from_json(hint: Any, value: Any) -> Any:
    """Return a JSON value as what a type hint asks for.

    That is a dataclass, ``tuple[X, ...]`` or ``dict[str, X]`` of such, one of them or None, or a
    plain value.

    Raises:
        ValueError: a dataclass has a field too many or too few.
        TypeError: a value is not of the kind that the hint asks for.
        AttributeError: a plain value stands where a dataclass should.
    """
    if isinstance(hint, UnionType):
        return None if value is None else from_json(get_args(hint)[0], value)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        for name in hints.keys() ^ value.keys():
            raise ValueError(f"setting {name!r} is {'missing' if name in hints else 'unknown'}")
        return hint(**{name: from_json(hints[name], value[name]) for name in hints})
    if get_origin(hint) is tuple:
        inner, *more = get_args(hint)
        if more == [...] and is_dataclass(inner):
            return tuple(from_json(inner, item) for item in value)
        return tuple(value)
    if get_origin(hint) is dict and is_dataclass(get_args(hint)[1]):
        return {name: from_json(get_args(hint)[1], item) for name, item in value.items()}
    return value
