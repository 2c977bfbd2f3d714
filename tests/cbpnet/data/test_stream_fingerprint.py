import numpy as np
import pytest

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import FileImages
from cbpnet.data.stream import fingerprint_stream, make_stream


def stream_of(
    root="photos", train=("1.png", "2.png", "3.png", "4.png"), names=("cat", "dog"), **options
):
    def images(files):
        return FileImages([f"{root}/{name}" for name in files], np.array([0, 0, 1, 1]))

    test = ("5.png", "6.png", "7.png", "8.png")
    dataset = Dataset("photos", names, images(train), images(test), 1)
    return make_stream(dataset, **({"classes_per_task": 1} | options))


def test_a_moved_data_set_is_the_same():
    assert fingerprint_stream(stream_of("moved/photos")) == fingerprint_stream(stream_of())


@pytest.mark.parametrize(
    "changes",
    [
        {"train": ("1.png", "2.png", "3.png", "9.png")},
        {"names": ("cat", "cow")},
        {"classes_per_task": 2},
        {"class_order": [1, 0]},
        {"train_per_class": 1},
        {"test_per_class": 1},
        {"seed": 1},
    ],
)
def test_other_images_classes_or_tasks_are_not(changes):
    assert fingerprint_stream(stream_of(**changes)) != fingerprint_stream(stream_of())
