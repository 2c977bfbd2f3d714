"""What a class may be called, so that every host and every terminal shows the same."""

import unicodedata

from cbpnet.host.errors import InputError

__all__ = ["fold_label", "tidy_label"]

# Control characters, halves of a character (bytes that are no UTF-8), and breaks of a line.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def tidy_label(text: str, what: str = "label") -> str:
    """Return a label without spaces at its ends, in Unicode's composed form (NFC).

    ``what`` is what a message calls it.

    Raises:
        InputError: nothing is left, or a character in it is none that can be shown.
    """
    label = unicodedata.normalize("NFC", text.strip())
    if not label:
        raise InputError(f"{what} {text!r} is empty; right would be what the class is called")
    odd = next((char for char in label if unicodedata.category(char) in _UNPRINTABLE), None)
    if odd is not None:
        raise InputError(
            f"{what} {text!r} has the character {odd!r}, which cannot be shown; right would be "
            "letters, digits, signs and spaces"
        )
    return label


def fold_label(text: str) -> str:
    """Return what is equal for labels that a file system or a person may take for one."""
    return unicodedata.normalize("NFC", text.strip()).casefold()
