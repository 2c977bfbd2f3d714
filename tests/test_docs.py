"""The pages: links lead somewhere, files that they name exist, their tables are the code's."""

import importlib
import json
import re
from pathlib import Path

import pytest

from mobile.cli import COMMANDS

from .test_rooms import ROOMS

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
NAMED_FILE = re.compile(
    r"`((?:cbpnet|quantize|mobile|benchmarks|tests|docs|examples|android_demo)/[\w./-]+\.\w+)`"
)


def _prose(path: Path) -> str:
    """A page's text without its blocks of code, or that of a notebook's text cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return FENCE.sub("", text)


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = HEADING.findall(_prose(path))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _dead_links(path: Path) -> list[str]:
    dead = []
    for name, anchor in LINK.findall(_prose(path)):
        aim = (path.parent / name).resolve() if name else path
        if not aim.exists():
            dead.append(f"{path.name}: {name}")
        elif anchor and anchor not in _anchors(aim):
            dead.append(f"{path.name}: {name}#{anchor}")
    return dead


def _table(page: str, heading: str) -> list[list[str]]:
    """The rows of a page's first table under a heading that starts so."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = iter(text[text.index(heading) :].splitlines())
    rows = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_link_leads_somewhere(tracked_files: list[Path]) -> None:
    pages = [path for path in tracked_files if path.suffix in (".md", ".ipynb")]
    assert [dead for page in pages for dead in _dead_links(page)] == []


def test_every_file_that_a_page_names_exists(tracked_files: list[Path]) -> None:
    missing = [
        f"{page.name}: {name}"
        for page in tracked_files
        if page.suffix in (".md", ".ipynb") and page.name != "extending.md"  # made-up files
        for name in NAMED_FILE.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_planted_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# What is int8, what is `fp32`?\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md) [b](other.md#what-is-int8-what-is-fp32) [c](#here)\n"
        "[d](gone.md) [e](other.md#gone) [f](#gone) [g](https://example.org/gone)\n"
        "```\n[h](gone.md)\n```\n"
    )
    assert _dead_links(page) == ["page.md: gone.md", "page.md: other.md#gone", "page.md: #gone"]


def test_every_page_is_in_the_index(tracked_files: list[Path]) -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = [
        path.name for path in tracked_files if path.parent == ROOT / "docs" and path.suffix == ".md"
    ]
    assert [name for name in pages if name != "README.md" and f"]({name})" not in index] == []


@pytest.mark.parametrize("page", ["docs/cli.md", "README.md"])
def test_the_table_of_commands_has_each_of_them(page: str) -> None:
    named = [name for row in _table(page, "| command |") for name in _code(row[0])]
    assert sorted(named) == sorted(COMMANDS)


def test_the_table_of_rooms_is_the_floor_plan() -> None:
    plan = {
        f"{package}/{room}": arrows
        for package, rooms in ROOMS.items()
        for room, arrows in rooms.items()
    }
    rows = _table("CONTRIBUTING.md", "| room |")
    shown = {name: set(_code(row[2])) for row in rows for name in _code(row[0]) if "/" in name}
    assert shown == plan


def test_the_changelog_s_new_modules_exist() -> None:
    modules = {
        name.rpartition("`")[2]
        for row in _table("CHANGELOG.md", "| old module |")
        for name in _code(row[1])
        if "." in name
    }
    assert len(modules) > 60
    for name in modules:
        assert importlib.import_module(name).__all__
