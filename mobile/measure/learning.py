"""The figures of one command of `learn` that a board's report shows."""

from dataclasses import dataclass

from mobile.measure.sampling import Sample

__all__ = ["Learning"]


@dataclass(frozen=True)
class Learning:
    """New images learnt on a board.

    ``seconds`` are those of learning alone, ``images`` the different ones that were learnt, in
    ``epochs`` passes, with a one-pass bundle all that it took. ``peak_rss_mb`` is the process's
    peak, in MB of 10^6 bytes. The samples' times count from the beginning.
    """

    source: str
    new: tuple[str, ...]
    known: tuple[str, ...]
    images: int
    epochs: float
    seconds: float
    peak_rss_mb: float
    samples: tuple[Sample, ...]

    @property
    def most_celsius(self) -> float | None:
        """The highest temperature meanwhile; None where the board does not tell it."""
        heat = [one.celsius for one in self.samples if one.celsius is not None]
        return max(heat, default=None)
