"""Pictures of a colour."""

import numpy as np
import numpy.typing as npt

COLOURS = {
    "red": (200, 50, 50),
    "green": (50, 200, 50),
    "blue": (50, 50, 200),
    "grey": (128, 128, 128),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
    "pink": (250, 120, 180),
}


def toy_pictures(colour: str, count: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Noisy pictures of one colour, uint8 [10, 12, 3]."""
    random = np.random.default_rng([seed, *colour.encode()])
    noise = random.integers(-30, 30, (count, 10, 12, 3))
    return list(np.clip(noise + np.array(COLOURS[colour]), 0, 255).astype(np.uint8))
