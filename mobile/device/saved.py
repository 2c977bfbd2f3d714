"""What a learner knows, as files: a state, and beside it the pictures that it keeps.

The two belong together: the state holds the pictures' SHA-256. The pictures are written first,
under a name of their own; whatever ends the writing, the state that is there has its own pictures
beside it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
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
from cbpnet.run.previous_state import Say, previous_path, warn
from cbpnet.run.state_file import load_with_journal, read_info, save_state
from cbpnet.run.state_info import StateInfo, check_fit
from mobile.device.kept_file import KeptRecord, kept_path, pack, read_kept, remove_others
from mobile.device.kept_pictures import NO_PICTURES
from mobile.device.lessons import Knowledge
from mobile.device.manifest import Manifest

__all__ = [
    "NEVER",
    "Progress",
    "Saving",
    "journal_of",
    "load_knowledge",
    "progress_of",
    "read_saving",
    "save_knowledge",
]


@dataclass(frozen=True)
class Saving:
    """Which saving of a state file it holds.

    ``generation`` counts the savings of the file, so that one who read it sees that another has
    written it since. ``inbox`` identifies the last lesson that was taken from an inbox.
    """

    generation: int = 0
    inbox: str = ""


NEVER = Saving()
_MOST = 1 << 53  # that every host can count


@dataclass(frozen=True)
class Progress(Saving):
    """What a device writes to `StateInfo.progress`, and reads: others may write more."""

    lessons: int = 0
    kept: KeptRecord | None = None
    journal: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("generation", "lessons"):
            value = getattr(self, name)
            if not 0 <= value <= _MOST:
                raise InputError(f"progress.{name} is {value}; right would be from 0 to {_MOST}")


def save_knowledge(path: Path, known: Knowledge, manifest: Manifest, saving: Saving) -> None:
    """Write a state file, and its kept pictures if there are any.

    The state that is there stays as the one before it, with its pictures; older ones go.
    ``saving`` is what `read_saving` will say of it.

    Raises:
        InputError: a file cannot be written, or what is known cannot be right; the older ones are
            as they were.
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
        write_atomically(pictures, data, None, path)
    try:
        info = manifest.state_info(known.class_names, progress)
        save_state(path, known.state, info, {} if journal is None else journal_tensors(journal))
    except InputError:  # so that the state is the old one
        if pictures is not None and fresh:
            with suppress(OSError):
                pictures.unlink()
        raise
    before = _kept_pictures(previous_path(path), path)
    remove_others(path, [kept for kept in (pictures, before) if kept is not None])


def read_saving(path: Path) -> Saving:
    """Return which saving a state file holds, `NEVER` where there is no state.

    Of one that is damaged where it says that, it is the one after the state before it.
    """
    try:
        found = _read_progress(path)
        return Saving(found.generation, found.inbox)
    except InputError:
        pass
    try:
        return Saving(_read_progress(previous_path(path)).generation + 1)
    except InputError:
        return NEVER


def load_knowledge(
    path: Path, manifest: Manifest, pictures: bool, say: Say = warn
) -> tuple[Knowledge, Saving]:
    """Read what `save_knowledge` wrote, perhaps of a bundle with less capacity.

    Args:
        path: the state file.
        manifest: the bundle's.
        pictures: whether its kept pictures are read, if there are any; else they are given up.
        say: is told where the state is damaged and the one before it is read.

    Returns:
        What is known, and which saving it is of.

    Raises:
        InputError: the file is no intact state, or one of another backbone, other settings or more
            capacity; or its kept pictures are not beside it.
    """
    state, info, arrays = load_with_journal(path, say)
    try:
        _check_kind(path, info, manifest)
        expected = manifest.state_info(info.class_names, info.progress)
        check_fit(info, replace(expected, classes=info.classes, tasks=info.tasks))
        progress = progress_of(info)
        journal = journal_of(state, info, arrays)
        state = _grown(state, info, manifest)
        if journal is not None:
            journal = replace(journal, base=_grown(journal.base, info, manifest))
    except InputError as error:
        raise InputError(f"{path} does not fit this bundle: {error}") from error
    kept = NO_PICTURES
    if progress.kept is not None and pictures:
        kept = read_kept(path, progress.kept, len(info.class_names), manifest.image_size)
    known = Knowledge(state, info.class_names, progress.lessons, kept, journal)
    return known, Saving(progress.generation, progress.inbox)


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


def journal_of(state: HostState, info: StateInfo, arrays: Mapping[str, Array]) -> Journal | None:
    """Return the journal in a state file; of a state without one it starts from there."""
    if not info.config.one_pass:
        return None
    found = progress_of(info).journal
    if found is None:
        return Journal(state, info.class_names)
    return read_journal(found, arrays, state, info)


def progress_of(info: StateInfo) -> Progress:
    """Return what a device wrote to a state's progress.

    Raises:
        InputError: it is of another type, or a number out of its range.
    """
    names = {field.name for field in fields(Progress)}
    given = {name: value for name, value in info.progress.items() if name in names}
    return from_json(Progress, asdict(Progress()) | given)


def _read_progress(path: Path) -> Progress:
    return progress_of(read_info(path))


def _kept_pictures(state: Path, beside: Path) -> Path | None:
    """Return where the kept pictures of a state are whose files stand beside another one."""
    try:
        kept = _read_progress(state).kept
    except InputError:
        return None
    return None if kept is None else kept_path(beside, kept.sha256)


def _grown(state: HostState, info: StateInfo, manifest: Manifest) -> HostState:
    return grow(state, info.config, info.dim, manifest.classes, manifest.tasks)
