"""Class folders in an uncompressed tar, read where they are: nothing is unpacked."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from cbpnet.host.errors import InputError

__all__ = ["ArchivePath", "open_archive"]

_ROOT = PurePosixPath()


@dataclass(frozen=True)
class _Contents:
    """The places in ``archive`` of its files, in bytes from its start, and what folders hold."""

    archive: Path
    files: dict[PurePosixPath, tuple[int, int]]
    folders: dict[PurePosixPath, set[str]]


@dataclass(frozen=True)
class ArchivePath:
    """A file or folder in an archive, with what reading class folders needs of `pathlib.Path`."""

    contents: _Contents
    inner: PurePosixPath = _ROOT

    def __truediv__(self, name: str) -> Self:
        return type(self)(self.contents, self.inner / name)

    def __str__(self) -> str:
        return str(self.contents.archive / self.inner)

    @property
    def name(self) -> str:
        """The last part of the path; the archive's own without its suffix where there is none."""
        return self.inner.name or self.contents.archive.stem

    @property
    def suffix(self) -> str:
        """The name's suffix, with its dot."""
        return self.inner.suffix

    @property
    def parent(self) -> Self:
        """The folder that it is in."""
        return type(self)(self.contents, self.inner.parent)

    def resolve(self) -> Self:
        """Return the path itself: there are no links."""
        return self

    def exists(self) -> bool:
        """Return whether the archive has it."""
        return self.is_dir() or self.is_file()

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        return self.inner in self.contents.folders

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return self.inner in self.contents.files

    def is_symlink(self) -> bool:
        """Return that it is no link: those of an archive are left out."""
        return False

    def iterdir(self) -> Iterator[Self]:
        """Yield what a folder holds."""
        return (self / name for name in self.contents.folders[self.inner])

    def open(self, mode: Literal["rb"]) -> io.BytesIO:
        """Return a file's bytes."""
        start, size = self.contents.files[self.inner]
        with self.contents.archive.open(mode) as archive:
            archive.seek(start)
            return io.BytesIO(archive.read(size))


def open_archive(path: Path) -> ArchivePath:
    """Return the folder in a tar: its root or, where that holds nothing but a folder of folders,
    that one.

    Links, devices and names that lead out of the archive are left out.

    Raises:
        InputError: it is no readable, uncompressed tar.
    """
    contents = _Contents(path, {}, {_ROOT: set()})
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                _enter(contents, member)
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"{path}: cannot be read as an uncompressed tar ({error}); right would be a folder or "
            "a .tar of one"
        ) from error
    root = ArchivePath(contents)
    entries = list(root.iterdir())
    wrapped = len(entries) == 1 and entries[0].is_dir()
    if wrapped and any(entry.is_dir() for entry in entries[0].iterdir()):
        return entries[0]
    return root


def _enter(contents: _Contents, member: tarfile.TarInfo) -> None:
    inner = PurePosixPath(member.name)
    if inner.is_absolute() or ".." in inner.parts or not inner.parts:
        return
    if member.isdir():
        contents.folders.setdefault(inner, set())
    elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
        contents.files[inner] = member.offset_data, member.size
    else:
        return
    for folder, name in zip(inner.parents, (inner, *inner.parents), strict=False):
        contents.folders.setdefault(folder, set()).add(name.name)
