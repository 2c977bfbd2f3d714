"""What runs of the protocol measured, kept in a folder so that an interrupted command goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError

__all__ = ["ResultStore"]

Record = TypeVar("Record")


class ResultStore(Generic[Record]):
    """Records by name, a JSON file each, with the settings that they were run with.

    ``settings`` are whatever the figures depend on, by name; what JSON does not know is kept as its
    text. A record of other settings is refused and not mixed in. ``kind`` is the records'
    dataclass.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], kind: type[Record]) -> None:
        self._folder, self._kind = folder, kind
        # Through JSON and back, so that tuples compare equal to what a file holds.
        self._settings = json.loads(json.dumps(settings, default=str))

    def path(self, name: str) -> Path:
        """Return the file of a record."""
        return self._folder / f"{name}.json"

    def find(self, name: str) -> Record | None:
        """Return a record as it was kept, None where there is none.

        Raises:
            InputError: it was run with other settings, which are named, or the file is damaged.
        """
        path = self.path(name)
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            settings = dict(content["settings"])
            record = from_json(self._kind, content["record"])
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} is not a kept run ({error}); delete it to run that anew"
            ) from error
        differing = [
            name
            for name in sorted(settings.keys() | self._settings.keys())
            if settings.get(name) != self._settings.get(name)
        ]
        if differing:
            raise InputError(
                f"{path} was run with other settings ({', '.join(differing)}); "
                "choose another output folder or delete it"
            )
        return record

    def keep(self, name: str, record: Record) -> None:
        """Write a record, replacing an older one whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        fields: Any = record
        content = {"settings": self._settings, "record": asdict(fields)}
        text = json.dumps(content, indent=1)
        write_atomically(self.path(name), text.encode())
