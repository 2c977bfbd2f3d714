import numpy as np
import pytest

from cbpnet.host.errors import InputError
from mobile.device.prediction import rank
from mobile.device.teacher import Answers


@pytest.mark.parametrize(
    ("probability", "score"),
    [(np.nan, 0.5), (np.inf, 0.5), (-np.inf, None), (0.5, np.nan), (0.5, -np.inf)],
)
def test_what_is_no_number_is_no_answer(probability: float, score: float | None) -> None:
    found = Answers(np.array([[0.5, probability, 0.0]], np.float32), [score], [None])
    with pytest.raises(InputError, match="an image's answer is NaN or infinite"):
        rank(found, ["a", "b"], 1.0)


def test_classes_beyond_the_known_ones_do_not_count() -> None:
    found = Answers(np.array([[0.2, 0.8, np.nan]], np.float32), [None], [1])
    (prediction,) = rank(found, ["a", "b"], 1.0)
    assert (prediction.label, prediction.task) == ("b", 1)
