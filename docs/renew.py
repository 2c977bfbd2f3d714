"""Rewrite the blocks of README.md and docs/ that a command prints, from one export.

    python docs/renew.py VIT_TINY_WEIGHTS

A block is the fence below a line `<!-- made by: docs/renew.py NAME -->`; `MAKERS` has the names.
`tests/mobile/test_documented_blocks.py` holds the blocks against what is printed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["MAKERS", "Printed", "export_vit_tiny", "pages", "read_blocks", "renewed", "settled"]

ROOT = Path(__file__).resolve().parents[1]
_WEIGHTS, _BUNDLE = "vit_tiny.safetensors", "pets.pte"
_EXPORT = ("export", "--target", "xnnpack", "--weights", _WEIGHTS, "--out", _BUNDLE)
_BLOCK = re.compile(
    r"(?P<head><!-- made by: docs/renew\.py (?P<name>[\w-]+) -->\n+```\w*\n)(?P<body>.*?\n)```\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class Printed:
    """What was printed of an export: its stages, its outcome, and its bundle when inspected.

    ``manifest`` is `inspect`'s JSON.
    """

    stages: str
    outcome: str
    inspected: str
    manifest: dict[str, Any]


def export_vit_tiny(weights: Path) -> Printed:
    """Export a ViT-Ti with pretrained weights, as a user would, and return what is printed."""
    with TemporaryDirectory() as folder:
        (Path(folder) / _WEIGHTS).symlink_to(weights.resolve())

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            code = "from mobile.cli import main; main()"
            command = [sys.executable, "-c", code, *arguments]
            return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)

        exported = run(*_EXPORT)
        document = json.loads(run("inspect", _BUNDLE, "--json").stdout)
        return Printed(exported.stderr, exported.stdout, run("inspect", _BUNDLE).stdout, document)


def transcript(printed: Printed) -> str:
    """Return the export's transcript, without most stages and operators."""
    stages = printed.stages.splitlines()
    shown = [stages[0], "[...]", *stages[-3:], *_first_of_operators(printed.outcome.splitlines())]
    return "\n".join([f"$ cbpnet-mobile {' '.join(_EXPORT)}", *shown]) + "\n"


def _first_of_operators(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines, of those that list operators the first below `gradients`."""
    method = ""
    for listing, group in groupby(lines, lambda line: line.startswith(" ")):
        found = list(group)
        if not listing:
            method = found[-1].partition(" ")[0]
            yield from found
        elif method == "gradients":
            yield found[0] if len(found) == 1 else f"{found[0].rstrip()} [...]"


def features(printed: Printed) -> str:
    """Return the entry of the method `features` in the manifest."""
    entries = printed.manifest["methods"]["features"].items()
    lines = ",\n ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entries)
    return f"{{{lines}}}\n"


def inspected(printed: Printed) -> str:
    """Return what `inspect` prints of the bundle."""
    return f"$ cbpnet-mobile inspect {_BUNDLE}\n{printed.inspected}"


MAKERS: dict[str, Callable[[Printed], str]] = {
    "export": transcript,
    "features": features,
    "inspect": inspected,
}


def pages() -> list[Path]:
    """Return the pages that may have blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_blocks(text: str) -> dict[str, str]:
    """Return a page's blocks by name."""
    return {found["name"]: found["body"] for found in _BLOCK.finditer(text)}


def renewed(text: str, printed: Printed) -> str:
    """Return a page with its blocks made anew."""
    return _BLOCK.sub(lambda found: f"{found['head']}{MAKERS[found['name']](printed)}```\n", text)


def settled(text: str) -> str:
    """Return a text without what other runs and machines print otherwise.

    That is times, how a processor rounds, and which build of a version is installed.
    """
    text = re.sub(r"\b\d+(\.\d+)? s\b", "_ s", text)
    text = re.sub(r"(?<=\d)\+\w+", "", text)
    return re.sub(
        r"^against PyTorch: .*$",
        lambda found: re.sub(r"\d[\d.e+-]*", "_", found[0]),
        text,
        flags=re.MULTILINE,
    )


def main(weights: Path) -> None:
    """Rewrite every page whose blocks have changed."""
    printed = export_vit_tiny(weights)
    for page in pages():
        before = page.read_text("utf-8")
        after = renewed(before, printed)
        if settled(after) != settled(before):
            page.write_text(after, "utf-8")
            print(f"rewrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
