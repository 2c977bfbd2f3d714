"""Empty CUDA libraries: the registry's aarch64 torch asks for them to load, and never calls them.

They are 2.4 GB that no Raspberry Pi has a use for; a Pi takes PyTorch's CPU build instead.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["make_stubs"]

# Runs one of the emulated system's programs and returns what it prints.
Run = Callable[[str, Sequence[str | Path]], str]

_ALL = "liball_stubs.so"
_NO_DEVICE = 100  # cudaErrorNoDevice, should anybody ask
_NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")


def make_stubs(run: Run, libraries: Path, system: Path, program: Path, out: Path) -> list[str]:
    """Write a stand-in for each library that those of a folder ask for and nobody has.

    One of them has every missing symbol, and the others, with the names that are asked for, lead to
    it: a library that is asked for by name for a symbol's version would have to have versions.

    Args:
        run: runs `readelf`, `nm`, `as` and `ld`.
        libraries: folder of shared libraries.
        system: root of the system that they run on.
        program: what loads them.
        out: existing folder for the stand-ins.

    Returns:
        The names of the missing libraries.
    """
    ours = sorted(libraries.glob("*.so*"))
    needed = set(_NEEDED.findall(run("readelf", ["--dynamic", *ours])))
    theirs = {path.name: path for path in system.rglob("*") if path.name in needed}
    missing = sorted(needed - theirs.keys() - {path.name for path in ours})
    if missing:
        wanted = _symbols(run, "--undefined-only", ours)
        known = _symbols(run, "--defined-only", [*ours, *theirs.values(), program])
        _assemble(run, sorted(wanted - known), out)
    for name in missing:
        run("ld", ["-shared", "-soname", name, "-o", out / name, out / _ALL])
    return missing


def _symbols(run: Run, which: str, libraries: Sequence[Path]) -> set[str]:
    """Return dynamic symbols without their versions; weak ones nobody has to have."""
    form = ["--dynamic", "--format=posix", "--without-symbol-versions", which]
    listing = run("nm", [*form, *libraries])
    rows = [line.split() for line in listing.splitlines()]
    return {row[0] for row in rows if len(row) > 1 and row[1] not in "wv"}


def _assemble(run: Run, symbols: Sequence[str], out: Path) -> None:
    """Write the library in which all symbols are the same function."""
    labels = "".join(f".globl {symbol}\n{symbol}:\n" for symbol in symbols)
    source, compiled = out / "stubs.s", out / "stubs.o"
    source.write_text(f".text\n{labels}mov w0, #{_NO_DEVICE}\nret\n", encoding="utf-8")
    run("as", ["-o", compiled, source])
    run("ld", ["-shared", "-soname", _ALL, "-o", out / _ALL, compiled])
