"""The one exception for what a user can put right."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input: its message is one sentence that names the input, the value and what is right."""
