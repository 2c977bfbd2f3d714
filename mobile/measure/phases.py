"""What a board said of itself in each part of a measurement."""

from dataclasses import dataclass
from statistics import fmean

from mobile.measure.latency import Latency, Phase

__all__ = ["PhaseFigures", "phase_figures"]


@dataclass(frozen=True)
class PhaseFigures:
    """Figures of a part that took ``seconds``; None for what the board does not tell.

    Temperatures at its beginning and at most, the slowest and the fastest clock, the mean power,
    and the least memory that was left, in megabytes (10^6 bytes).
    """

    name: str
    seconds: float
    first_celsius: float | None
    most_celsius: float | None
    least_megahertz: float | None
    most_megahertz: float | None
    watts: float | None
    least_available_mb: float | None


def phase_figures(found: Latency) -> list[PhaseFigures]:
    """Return the figures of each part of a measurement, in order."""
    return [_figures(found, phase) for phase in found.phases]


def _figures(found: Latency, phase: Phase) -> PhaseFigures:
    inside = [one for one in found.samples if phase.start <= one.seconds <= phase.end]
    heat = [one.celsius for one in inside if one.celsius is not None]
    clocks = [one.megahertz for one in inside if one.megahertz is not None]
    watts = [one.watts for one in found.power if phase.start <= one.seconds <= phase.end]
    return PhaseFigures(
        name=phase.name,
        seconds=phase.end - phase.start,
        first_celsius=heat[0] if heat else None,
        most_celsius=max(heat, default=None),
        least_megahertz=min(clocks, default=None),
        most_megahertz=max(clocks, default=None),
        watts=fmean(watts) if watts else None,
        least_available_mb=min((one.available_mb for one in inside), default=None),
    )
