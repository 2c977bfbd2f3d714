"""What many picture files are taken for, some at a time, whatever single ones are like."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cbpnet.host.errors import InputError
from cbpnet.run.training import IMAGES_AT_ONCE
from mobile.device.images import normalised, prepare_images
from mobile.device.prediction import Prediction
from mobile.device.runtime import OnDeviceLearner

__all__ = ["answer_files"]


def answer_files(
    learner: OnDeviceLearner, paths: Sequence[Path]
) -> Iterator[tuple[Path, Prediction | InputError]]:
    """Yield each file with what it is taken for, or with why it cannot be read, in their order.

    Raises:
        InputError: no class is known.
    """
    preprocessing = learner.manifest.preprocessing
    for start in range(0, len(paths), IMAGES_AT_ONCE):
        batch = paths[start : start + IMAGES_AT_ONCE]
        readable, unreadable = {}, {}
        for path in batch:
            try:
                pixels = prepare_images([path], preprocessing)
            except InputError as error:
                unreadable[path] = error
            else:
                (readable[path],) = normalised(pixels, preprocessing)
        found = dict(zip(readable, learner.predict(list(readable.values())), strict=True))
        for path in batch:
            yield path, unreadable.get(path) or found[path]
