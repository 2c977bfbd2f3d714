import pytest

from cbpnet.host.text import counted, listed


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
