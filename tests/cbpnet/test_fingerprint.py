import numpy as np
import pytest
import torch
from torch import nn

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import FileImages
from cbpnet.data.stream import make_stream
from cbpnet.fingerprint import fingerprint_stream, fingerprint_weights


def layer(**changes):
    torch.manual_seed(0)
    return nn.Linear(3, 2, **changes)


def test_equal_weights_have_one_fingerprint():
    assert fingerprint_weights(layer()) == fingerprint_weights(layer())
    assert len(fingerprint_weights(layer())) == 16


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_one_changed_bit_changes_it(name):
    changed = layer()
    with torch.no_grad():
        value = getattr(changed, name).view(-1)
        value[-1] = torch.nextafter(value[-1], torch.tensor(torch.inf))
    assert fingerprint_weights(changed) != fingerprint_weights(layer())


def test_precision_shape_and_name_change_it():
    half = fingerprint_weights(layer().to(torch.bfloat16))
    zeros = [nn.ParameterDict({"a": torch.zeros(s)}) for s in ((2, 3), (3, 2))]
    other = nn.ParameterDict({"b": torch.zeros(2, 3)})
    prints = {half, *map(fingerprint_weights, [layer(), *zeros, other])}
    assert len(prints) == 5


def test_the_order_in_memory_does_not_change_it():
    turned = layer()
    turned.weight = nn.Parameter(turned.weight.detach().T.contiguous().T)
    assert not turned.weight.is_contiguous()
    assert fingerprint_weights(turned) == fingerprint_weights(layer())


def test_without_memory_names_and_shapes_tell():
    with torch.device("meta"):
        small, same, large = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 4)
    assert fingerprint_weights(small) == fingerprint_weights(same)
    assert fingerprint_weights(small) != fingerprint_weights(large)


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
