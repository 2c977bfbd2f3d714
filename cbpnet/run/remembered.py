"""Counted images that are remembered: what they say of the readout depends on no order.

A sample of them is judged, each without itself. Which they are, the images' own pixels decide, so
that devices that saw the same images in any order have the same sample.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from cbpnet.host.arrays import Array
from cbpnet.method.state import HostState

__all__ = ["LessonRows", "Remembered", "as_counted", "picture_keys", "sample_of"]

_SAMPLE = 200
_MOST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class LessonRows:
    """A lesson's features x [N, F] as they were counted, ``labels`` [N] and `picture_keys` [N]."""

    x: npt.NDArray[np.float16]
    labels: Array
    keys: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Remembered:
    """The lessons that are remembered, by today's features, and what others said.

    ``evidence`` [priors, scales] and ``calibration`` [scales] are of counted images that are not
    remembered.
    """

    lessons: tuple[LessonRows, ...]
    evidence: Array
    calibration: Array

    @classmethod
    def nothing(cls, state: HostState) -> Self:
        """Return no lesson, and what a state's images have said when they were learnt."""
        return cls((), state["readout.evidence"], state["readout.calibration"])

    def joined(self, lesson: LessonRows) -> Self:
        """Return these lessons and another one."""
        return replace(self, lessons=(*self.lessons, lesson))

    def mapped(self, matrix: Array) -> Self:
        """Return the lessons with their features times a matrix [F, F]."""
        lessons = (
            replace(one, x=as_counted(one.x.astype(np.float32) @ matrix)) for one in self.lessons
        )
        return replace(self, lessons=tuple(lessons))

    def sampled(self) -> list[Array]:
        """Return which rows of each lesson are judged."""
        keys = np.concatenate([np.zeros(0, np.uint64), *(one.keys for one in self.lessons)])
        labels = np.concatenate([np.zeros(0, np.int64), *(one.labels for one in self.lessons)])
        chosen = sample_of(keys, labels)
        found, start = [], 0
        for one in self.lessons:
            end = start + len(one.labels)
            found.append(chosen[(chosen >= start) & (chosen < end)] - start)
            start = end
        return found


def sample_of(keys: Array, labels: Array, most: int = _SAMPLE) -> Array:
    """Return the places, in order, of the images with the smallest keys."""
    return np.sort(np.lexsort((labels, keys))[:most])


def as_counted(x: Array) -> npt.NDArray[np.float16]:
    """Return features as they are counted and kept: in fp16, to be counted again exactly."""
    return np.clip(x, -_MOST, _MOST).astype(np.float16)


def picture_keys(pixels: Array) -> npt.NDArray[np.uint64]:
    """Return a number for each of N pictures [N, ...], the same for the same pixels.

    It is the first 8 bytes of the pixels' SHA-256, as a little-endian number.
    """
    digests = [hashlib.sha256(picture.tobytes()).digest()[:8] for picture in pixels]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
