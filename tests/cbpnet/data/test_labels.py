import pytest

from cbpnet.data.labels import fold_label, tidy_label
from cbpnet.host.errors import InputError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("rex", "rex"),
        ("  Rex the 2nd\t", "Rex the 2nd"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u4e2d\u56fd", "\u4e2d\u56fd"),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        ),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_a_label_is_trimmed_and_composed(text: str, label: str) -> None:
    assert tidy_label(text) == tidy_label(label) == label


@pytest.mark.parametrize("text", ["", " ", "\t\r\n", "\u3000"])
def test_an_empty_label_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^label .* is empty; right would be what the class is"):
        tidy_label(text)


@pytest.mark.parametrize("odd", ["\x1b", "\r", "\n", "\x00", "\x7f", "\x9b", "\u2028", "\udce9"])
def test_what_no_terminal_shows_is_refused(odd: str) -> None:
    with pytest.raises(InputError, match=r"^photos: class folder ") as refusal:
        tidy_label(f"a{odd}b", "photos: class folder")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("other", ["MASSE ", "Ma\u00dfe", "masse"])
def test_labels_that_look_alike_fold_to_one(other: str) -> None:
    assert fold_label(other) == fold_label("Masse")
    assert fold_label(other) != fold_label("Messe")
