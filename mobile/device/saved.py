"""What a learner knows, as files: a state, and beside it the pictures that it keeps.

The two belong together: the state holds the pictures' SHA-256. The pictures are written first,
under a name of their own; whatever ends the writing, the state that is there has its own pictures
beside it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cbpnet.host.arrays import Array
from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.method.capacity import grow
from cbpnet.method.state import HostState
from cbpnet.run.journal import Journal
from cbpnet.run.journal_file import journal_json, journal_tensors, read_journal
from cbpnet.run.state_file import load_state, load_with_journal, save_state
from cbpnet.run.state_info import StateInfo, check_fit
from mobile.device.kept_file import KeptRecord, kept_path, pack, read_kept, remove_others
from mobile.device.kept_pictures import NO_PICTURES
from mobile.device.lessons import Knowledge
from mobile.device.manifest import Manifest

__all__ = ["NEVER", "Saving", "journal_of", "load_knowledge", "read_saving", "save_knowledge"]


@dataclass(frozen=True)
class Saving:
    """Which saving of a state file it holds.

    ``generation`` counts the savings of the file, so that one who read it sees that another has
    written it since. ``inbox`` identifies the last lesson that was taken from an inbox.
    """

    generation: int = 0
    inbox: str = ""


NEVER = Saving()


def save_knowledge(path: Path, known: Knowledge, manifest: Manifest, saving: Saving) -> None:
    """Write a state file, and its kept pictures if there are any; older ones go.

    ``saving`` is what `read_saving` will say of it.

    Raises:
        InputError: a file cannot be written; the older ones are as they were.
    """
    progress: dict[str, Any] = {"lessons": known.lessons, "generation": saving.generation}
    if saving.inbox:
        progress["inbox"] = saving.inbox
    journal = known.journal
    if journal is not None:
        progress["journal"] = journal_json(journal)
    pictures = None
    if known.kept.limit:
        data, record = pack(known.kept, known.class_names)
        progress["kept"] = asdict(record)
        pictures = kept_path(path, record.sha256)
        fresh = not pictures.exists()
        write_atomically(pictures, data)
    try:
        info = manifest.state_info(known.class_names, progress)
        save_state(path, known.state, info, {} if journal is None else journal_tensors(journal))
    except InputError:  # so that the state is the old one
        if pictures is not None and fresh:
            with suppress(OSError):
                pictures.unlink()
        raise
    remove_others(path, pictures)


def read_saving(path: Path) -> Saving:
    """Return which saving a state file holds, `NEVER` where there is no state that can be read."""
    try:
        _, info = load_state(path)
    except InputError:
        return NEVER
    return Saving(info.progress.get("generation", 0), info.progress.get("inbox", ""))


def load_knowledge(path: Path, manifest: Manifest, pictures: bool) -> Knowledge:
    """Read what `save_knowledge` wrote, perhaps of a bundle with less capacity.

    Args:
        path: the state file.
        manifest: the bundle's.
        pictures: whether its kept pictures are read, if there are any; else they are given up.

    Raises:
        InputError: the file is no intact state, or one of another backbone, other settings or more
            capacity; or its kept pictures are not beside it.
    """
    state, info, arrays = load_with_journal(path)
    try:
        _check_kind(path, info, manifest)
        expected = manifest.state_info(info.class_names, info.progress)
        check_fit(info, replace(expected, classes=info.classes, tasks=info.tasks))
        journal = journal_of(state, info, arrays)
        state = _grown(state, info, manifest)
        if journal is not None:
            journal = replace(journal, base=_grown(journal.base, info, manifest))
        record = _kept_record(info)
    except InputError as error:
        raise InputError(f"{path} does not fit this bundle: {error}") from error
    known = state.known_classes
    if known != len(info.class_names):
        raise InputError(
            f"{path} knows {known} classes and names {len(info.class_names)} of them; "
            "use a state that `cbpnet-mobile` wrote"
        )
    kept = NO_PICTURES
    if record is not None and pictures:
        kept = read_kept(path, record, known, manifest.image_size)
    lessons = info.progress.get("lessons", 0)
    return Knowledge(state, info.class_names, lessons, kept, journal)


def _check_kind(path: Path, info: StateInfo, manifest: Manifest) -> None:
    if manifest.config.one_pass and not info.config.one_pass:
        raise InputError(
            "it is a state of CBPNet's tasks and the bundle learns in one pass; `cbpnet-mobile "
            f"move {path} --bundle BUNDLE --out FILE` takes its classes over"
        )
    if info.config.one_pass and not manifest.config.one_pass:
        raise InputError(
            "it is a state of the one-pass learner and the bundle's adaptation is cbpnet; go on in "
            "a one-pass bundle"
        )


def _kept_record(info: StateInfo) -> KeptRecord | None:
    found = info.progress.get("kept")
    return None if found is None else from_json(KeptRecord, found)


def journal_of(state: HostState, info: StateInfo, arrays: Mapping[str, Array]) -> Journal | None:
    """Return the journal in a state file; of a state without one it starts from there."""
    if not info.config.one_pass:
        return None
    found = info.progress.get("journal")
    if found is None:
        return Journal(state, info.class_names)
    return read_journal(found, arrays, state, info)


def _grown(state: HostState, info: StateInfo, manifest: Manifest) -> HostState:
    return grow(state, info.config, info.dim, manifest.classes, manifest.tasks)
