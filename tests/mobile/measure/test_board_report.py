"""The page of several boards' results: what stands on it, under which names."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mobile.measure.board_report import collect, write_report
from mobile.measure.results import Result, write_result

from . import made_up

OTHER = replace(made_up.BUNDLE, name="other.pte", digest="f" * 16)


class Page(HTMLParser):
    """The text and the tags of a page, which must be closed in order."""

    VOID = ("meta", "line", "polyline", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data.strip()


def report(folder: Path, **results: Result) -> tuple[Page, dict, str]:
    """Write results to the folders and files in their names, and report on the folders."""
    for name, result in results.items():
        place, _, file = name.partition("__")
        (folder / place).mkdir(exist_ok=True)
        write_result(folder / place / f"{file}.json", result)
    places = list(dict.fromkeys(folder / name.partition("__")[0] for name in results))
    page, data = write_report(collect(places), folder / "out" / "page.html")
    text = page.read_text()
    return Page(text), json.loads(data.read_text()), text


def test_one_board(tmp_path: Path) -> None:
    page, data, text = report(
        tmp_path,
        pi__a=made_up.result(made_up.LATENCY),
        pi__b=made_up.result(made_up.ACCURACY),
        pi__c=made_up.result(made_up.PROTOCOL),
        pi__d=made_up.result(made_up.LEARNING),
    )
    assert data["notes"] == []
    assert "not a Raspberry Pi" not in page.text
    assert page.tables[0][1] == [
        "Raspberry Pi 5 Model B Rev 1.0",
        "75.0",  # 30 of 40
        "20.0",  # 40 ms of 2 images
        "20.0",  # 10 and 30 ms of 2 images
        "254",
        "65.0",
        "no",
        "5.00",
        "1.00",  # 5 W at 5 images a second
    ]
    assert data["summary"][0]["joules"] == pytest.approx(1.0)
    assert [one["kind"] for one in data["results"]] == [
        "latency",
        "accuracy",
        "protocol",
        "learning",
    ]
    for word in ("6.12.34+rpt-rpi-v8", "bookworm", "torch 2.13.0", "ondemand", "0123456789abcdef"):
        assert word in page.text
    assert "did not throttle" in page.text
    assert "the last fifth was 1.0 % slower" in page.text
    assert "Power of Raspberry Pi 5 Model B Rev 1.0: the board's power chip." in page.text
    for title in ("Temperature, °C", "Clock, MHz", "Power, W", "Accuracy after each task, %"):
        assert f'aria-label="{title}"' in text
    # The figures of the one lesson: 10 s for 20 images in 5 passes.
    assert page.tables[-1][1][2:] == ["20", "5", "10.0", "100.0", "310", "69.0"]


def test_the_page_needs_no_network_and_names_are_no_markup(tmp_path: Path) -> None:
    _, _, text = report(tmp_path, pi__a=made_up.result(made_up.ACCURACY))
    assert not re.search(r"(?:src|href|url|@import|<script)", text)
    assert "<b>dog" not in text
    assert "&lt;b&gt;dog&lt;/b&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_figures_of_another_machine_say_so_wherever_they_stand(tmp_path: Path) -> None:
    laptop = {
        name: made_up.result(figures, made_up.LAPTOP)
        for name, figures in {
            "lap__a": made_up.SILENT,
            "lap__b": made_up.ACCURACY,
            "lap__c": made_up.PROTOCOL,
            "lap__d": made_up.LEARNING,
        }.items()
    }
    page, data, _ = report(tmp_path, **laptop)
    label = "not a Raspberry Pi: x86-64 machine"
    assert data["notes"] == [
        f"Not taken on a Raspberry Pi, and no guide to one: every figure labelled “{label}”."
    ]
    assert all(one["label"].startswith(label) for one in data["results"])
    for table in page.tables:
        if table[0][0] == "board":
            assert all(row[0] == label or len(row) < len(table[0]) for row in table[1:])
    assert "not known whether it throttled" in page.text
    assert page.tables[0][1][5:] == ["\N{EN DASH}"] * 4


def test_boards_of_the_same_model_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    page, data, _ = report(
        tmp_path,
        fan__a=made_up.result(made_up.LATENCY),
        bare__a=made_up.result(made_up.LATENCY),
    )
    model = "Raspberry Pi 5 Model B Rev 1.0"
    assert [one["label"] for one in data["results"]] == [f"{model} (fan)", f"{model} (bare)"]
    assert [row[0] for row in page.tables[0][1:]] == [f"{model} (fan)", f"{model} (bare)"]


def test_different_bundles_are_kept_apart_and_said(tmp_path: Path) -> None:
    page, data, _ = report(
        tmp_path,
        pi__a=made_up.result(made_up.LATENCY),
        pi__b=made_up.result(made_up.LATENCY, bundle=OTHER),
    )
    assert data["notes"] == [
        "These are results of 2 bundles (pets.pte, other.pte): compare figures of the same bundle "
        "only."
    ]
    labels = [f"Raspberry Pi 5 Model B Rev 1.0, {name}" for name in ("pets.pte", "other.pte")]
    assert [row[0] for row in page.tables[0][1:]] == labels
    same_name = replace(OTHER, name="pets.pte")
    (tmp_path / "second").mkdir()
    _, data, _ = report(
        tmp_path / "second",
        pi__a=made_up.result(made_up.LATENCY),
        pi__b=made_up.result(made_up.LATENCY, bundle=same_name),
    )
    assert "(pets.pte 012345, pets.pte ffffff)" in data["notes"][0]


def test_two_results_of_a_kind_are_told_apart_by_their_files(tmp_path: Path) -> None:
    _, data, text = report(
        tmp_path, pi__a=made_up.result(made_up.LATENCY), pi__soak=made_up.result(made_up.LATENCY)
    )
    model = "Raspberry Pi 5 Model B Rev 1.0"
    assert [one["label"] for one in data["results"]] == [f"{model}, a", f"{model}, soak"]
    # Of one board and bundle: the same colour, another dash.
    assert 'class="c0"' in text
    assert 'class="c1"' not in text
    assert {"stroke dash0", "stroke dash1"} <= set(re.findall('class="(stroke dash.)"', text))


def test_a_file_given_twice_counts_once(tmp_path: Path) -> None:
    write_result(tmp_path / "a.json", made_up.result(made_up.LATENCY))
    assert len(collect([tmp_path, tmp_path / "a.json"])) == 1


def test_a_clock_that_jumped_and_a_meter_that_was_no_use_are_said(tmp_path: Path) -> None:
    figures = replace(
        made_up.SILENT, clock_jump=-3600.0, power_source="none: the clock was set by -3600 s"
    )
    _, data, _ = report(tmp_path, pi__a=made_up.result(figures))
    assert "the date was set by -3600 s" in data["notes"][0]
    assert "power is none: the clock was set by -3600 s" in data["notes"][1]
