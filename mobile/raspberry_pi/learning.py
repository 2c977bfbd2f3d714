"""The figures of one command of `learn` that a board's report shows."""

from dataclasses import dataclass

from mobile.raspberry_pi.sampling import Sample

__all__ = ["Learning"]


@dataclass(frozen=True)
class Learning:
    """New images learnt on a board.

    ``seconds`` are those of learning alone, ``images`` the different ones that were learnt, in
    ``epochs`` passes. ``peak_rss_mb`` is the process's peak, in MB of 10^6 bytes. The samples'
    times count from the beginning.
    """

    source: str
    new: tuple[str, ...]
    known: tuple[str, ...]
    images: int
    epochs: int
    seconds: float
    peak_rss_mb: float
    samples: tuple[Sample, ...]
