"""The unknown score above which an image is answered "unknown", from the scores of known images."""

import math

__all__ = ["NEVER_UNKNOWN", "unknown_threshold"]

NEVER_UNKNOWN = math.inf  # while no image could be judged without itself

_DEVIATIONS = 1.4  # 92 of 100 scores are below that many, if they are normal
_FEWEST = 2


def unknown_threshold(count: float, total: float, squares: float) -> float:
    """Return where known images' scores end: at the quantile 0.92 of Student's t, about.

    ``count`` scores have the sum ``total`` and the sum of squares ``squares``; the next one of a
    normal distribution of which these are drawn is below in that many cases (Cornish and Fisher's
    expansion to the first order). Without two scores it is `NEVER_UNKNOWN`.
    """
    if count < _FEWEST:
        return NEVER_UNKNOWN
    mean, free = total / count, count - 1
    deviation = math.sqrt(max(squares - count * mean * mean, 0.0) / free)
    few = 1 + (_DEVIATIONS**2 + 1) / (4 * free)
    return mean + _DEVIATIONS * few * math.sqrt(1 + 1 / count) * deviation
