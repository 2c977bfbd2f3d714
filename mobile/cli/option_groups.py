"""Options in groups: a dataclass declares them, and a command takes it as one argument."""

import functools
from collections.abc import Callable
from dataclasses import field, fields
from typing import Any

import click

__all__ = ["argument", "option", "takes"]

Command = Callable[..., Any]

_PARAMETER = "parameter"


def option(*names: str, **attributes: Any) -> Any:
    """Declare a dataclass field that is filled from a command line option.

    Takes what `click.option` takes; the field's name is the parameter's.
    """
    return field(metadata={_PARAMETER: (click.option, names, attributes)})


def argument(**attributes: Any) -> Any:
    """Declare a dataclass field that is filled from a command line argument, as `click.argument`.

    The field's name is the parameter's.
    """
    return field(metadata={_PARAMETER: (click.argument, (), attributes)})


def takes(**groups: type) -> Callable[[Command], Command]:
    """Give a command the options of dataclasses; each is passed filled, under its keyword.

    `@takes(data=DataOptions)` calls `command(data=DataOptions(...))`. The options appear in the
    order of the groups and of their fields, before those that are declared below the decorator.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            for name, group in groups.items():
                given[name] = group(**{each.name: given.pop(each.name) for each in fields(group)})
            return function(**given)

        for group in reversed(groups.values()):
            for each in reversed(fields(group)):
                declare, names, attributes = each.metadata[_PARAMETER]
                declare(*names, each.name, **attributes)(command)
        return command

    return decorate
