import pytest

from cbpnet.host.text import counted, listed, printable


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "none"),
        (["cat"], "cat"),
        (["cat", "dog", "hen"], "cat, dog, hen"),
        (["cat", "dog", "hen", "cow", "pig"], "cat, dog, hen and 2 more"),
    ],
)
def test_the_first_names_and_how_many_more(names: list[str], text: str) -> None:
    assert listed(names, most=3) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "result", "0 results"),
        (1, "result", "1 result"),
        (1, "class", "1 class"),
        (12_000, "class", "12,000 classes"),
    ],
)
def test_a_number_has_its_noun(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rex", "rex"),
        ("caf\u00e9 \U0001f468\u200d\U0001f469", "caf\u00e9 \U0001f468\u200d\U0001f469"),
        ("a\x1b[31m\rb\n", r"a\x1b[31m\rb\n"),
        ("l\udce9on\u2028", r"l\udce9on\u2028"),
    ],
)
def test_what_moves_a_cursor_or_is_no_character_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert listed([text]) == shown
