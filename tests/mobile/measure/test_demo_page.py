"""The demo's page holds all that it shows, and names right and wrong answers."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from cbpnet.run.metrics import RunResult
from mobile.device.prediction import Prediction
from mobile.measure.demo_page import Picture, write_demo_page

RESULTS = [
    RunResult(name, 0, np.array([[1.0, np.nan], [a, b]]), (4, 4), None, 1.0, 1.0, 1.0)
    for name, a, b in (("ridge", 0.5, 0.25), ("exported <int8>", 0.75, 0.875))
]


class Tags(HTMLParser):
    """Collects the text, and the addresses that a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_one_file_shows_the_table_the_curves_and_the_answers(tmp_path: Path) -> None:
    pictures = []
    for label, ranking in (
        ("7", (("7", 0.9), ("1", 0.06), ("4", 0.03), ("2", 0.01))),
        ("8", (("3", 0.5), ("8", 0.4))),
    ):
        path = tmp_path / f"{label}.png"
        Image.new("RGB", (4, 4), (0, 0, int(label))).save(path)
        pictures.append(Picture(path, label, Prediction(ranking, 1)))
    page = tmp_path / "demo.html"
    write_demo_page(
        page, "It & learnt", ["0-4", "9"], RESULTS, pictures, "predict *.png", {"seed": 3}
    )
    tags = Tags(page.read_text(encoding="utf-8"))
    assert "It & learnt" in tags.text
    assert "exported <int8> 100.0 81.2" in tags.text  # (0.75 + 0.875) / 2
    assert "ridge 100.0 37.5" in tags.text
    assert "7 taken for 7 7 90.0 % 1 6.0 % 4 3.0 %" in tags.text
    assert "8 taken for 3, wrong" in tags.text
    assert "predict *.png" in tags.text
    assert "seed 3" in tags.text
    kinds, content = zip(*(address.split(",", 1) for address in tags.addresses), strict=True)
    assert set(kinds) == {"data:image/png;base64"}
    files = [path.read_bytes() for path in (tmp_path / "7.png", tmp_path / "8.png")]
    assert [base64.b64decode(one) for one in content] == files
    assert not re.search(r"(https?:)?//\w", page.read_text(encoding="utf-8"))
    assert page.read_text(encoding="utf-8").count("<polyline") == 2
