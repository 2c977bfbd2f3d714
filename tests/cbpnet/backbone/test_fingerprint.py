import pytest
import torch
from torch import nn

from cbpnet.backbone.fingerprint import fingerprint_weights


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
