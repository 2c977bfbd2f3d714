import numpy as np
import pytest

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import FileImages
from cbpnet.data.stream import fingerprint_stream, make_stream

TEST = ("5.png", "6.png", "7.png", "8.png")


@pytest.fixture
def stream_of(tmp_path):
    """Make a stream of files, each of which holds a word."""

    def make(root="photos", train=("1", "2", "3", "4"), names=("cat", "dog"), **options):
        def images(files, words):
            paths = [tmp_path / root / file for file in files]
            for path, word in zip(paths, words, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(word)
            return FileImages(paths, np.array([0, 0, 1, 1]))

        files = options.pop("files", ("1.png", "2.png", "3.png", "4.png"))
        test = images(TEST, options.pop("test", "5678"))
        dataset = Dataset("photos", names, images(files, train), test, 1)
        return make_stream(dataset, **({"classes_per_task": 1} | options))

    return make


@pytest.mark.parametrize("changes", [{"root": "moved/photos"}, {"files": ("a", "b", "c", "d")}])
def test_a_data_set_that_was_moved_or_renamed_is_the_same(stream_of, changes):
    assert fingerprint_stream(stream_of(**changes)) == fingerprint_stream(stream_of())


@pytest.mark.parametrize(
    "changes",
    [
        {"train": ("1", "2", "3", "9")},
        {"test": "5679"},
        {"names": ("cat", "cow")},
        {"classes_per_task": 2},
        {"class_order": [1, 0]},
        {"train_per_class": 1},
        {"test_per_class": 1},
        {"seed": 1},
    ],
)
def test_other_images_classes_or_tasks_are_not(stream_of, changes):
    first = fingerprint_stream(stream_of())
    assert fingerprint_stream(stream_of(**changes)) != first
