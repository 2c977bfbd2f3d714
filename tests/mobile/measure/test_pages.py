"""Pages escape what they are given and refuse to be rendered with less than they show."""

import pytest
from jinja2 import UndefinedError

from mobile.measure.pages import render_page

VALUES = {
    "summary": "a < b",
    "tasks": [],
    "rows": [],
    "chart": {"title": "x", "bars": [], "rows": []},
    "pictures": [],
    "command": "learn 'a' & predict",
    "conditions": {"<seed>": 1},
}


def test_values_are_escaped() -> None:
    page = render_page("demo.html", **VALUES)
    assert page.startswith("<!doctype html>")
    assert "A &lt; b." in page
    assert "&lt;seed&gt;" in page
    assert "learn &#39;a&#39; &amp; predict" in page


@pytest.mark.parametrize("missing", ["summary", "pictures"])
def test_a_value_that_is_missing_is_an_error(missing: str) -> None:
    with pytest.raises(UndefinedError, match=f"'{missing}' is undefined"):
        render_page("demo.html", **{name: VALUES[name] for name in VALUES if name != missing})
