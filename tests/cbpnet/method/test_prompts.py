import numpy as np
import pytest
import torch

from cbpnet.method.prompts import (
    gather_task,
    one_hot,
    prefixes,
    scatter_task,
    select_task,
)
from cbpnet.method.rows import cosines


def plain_cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5)


def plain_selection(query, keys, known):
    """The known task of the largest cosine, image by image."""
    return [
        max(
            (t for t in range(len(keys)) if known[t]),
            key=lambda t, image=image: plain_cosine(image, keys[t]),
        )
        for image in query.tolist()
    ]


def test_one_hot_rows_and_numbers_outside():
    rows = one_hot(torch.tensor([2, -1, 0, 3, 100]), 3)
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert torch.equal(one_hot(torch.tensor([2.0, -1.0, 0.0, 3.0, 100.0]), 3), rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gathering_is_indexing_bit_for_bit(dtype):
    pool = torch.randn(4, 3, 2, 5, 6, dtype=dtype)
    tasks = [3, 0, 0, 2, 1, 3]
    found = gather_task(pool, one_hot(torch.tensor(tasks), 4))
    assert found.dtype == dtype
    assert torch.equal(found, torch.stack([pool[task] for task in tasks]))


@pytest.mark.parametrize("shape", [(7,), (3, 2, 5, 6)])
def test_scattering_changes_one_entry_and_no_other_bit(shape):
    pool, entry = torch.randn(4, *shape), torch.randn(1, *shape)
    for values in (*pool, entry):  # a product with 0 or a sum would change one of these
        values.view(-1)[:3] = torch.tensor([float("nan"), float("inf"), -0.0])
    found = scatter_task(pool, one_hot(torch.tensor([2]), 4), entry)
    expected = pool.clone()
    expected[2] = entry[0]
    assert found.numpy().tobytes() == expected.numpy().tobytes()


def test_scattering_to_no_task_changes_nothing():
    pool = torch.randn(4, 7)
    assert torch.equal(scatter_task(pool, torch.zeros(1, 4), torch.randn(1, 7)), pool)


def test_a_query_and_a_key_are_compared_by_the_cosine():
    query, keys = torch.randn(5, 8).double(), 100 * torch.randn(3, 8).double()
    expected = [[plain_cosine(q, k) for k in keys.tolist()] for q in query.tolist()]
    np.testing.assert_allclose(cosines(query, keys), expected, atol=1e-12)


def test_each_image_selects_for_itself():
    keys = torch.randn(6, 8)
    known = torch.tensor([1.0, 1, 0, 1, 1, 0])
    query = torch.randn(200, 8)
    found = select_task(query, keys, known)
    assert found.argmax(dim=1).tolist() == plain_selection(query, keys.tolist(), known)
    assert set(found.argmax(dim=1).tolist()) == {0, 1, 3, 4}
    assert found.sum(dim=1).eq(1).all()
    alone = torch.cat([select_task(image[None], keys, known) for image in query])
    assert torch.equal(found, alone)


def test_an_unknown_task_is_never_selected_even_where_its_key_is_nearest():
    keys = torch.eye(4)
    query = torch.eye(4) * 3 - 0.1  # nearest to one key each, away from every other
    known = torch.tensor([0.0, 1, 0, 1])
    assert select_task(query, keys, torch.ones(4)).argmax(dim=1).tolist() == [0, 1, 2, 3]
    chosen = select_task(query, keys, known).argmax(dim=1).tolist()
    assert set(chosen) == {1, 3}
    opposite = select_task(-keys[1:2], keys[:2], torch.tensor([0.0, 1.0]))
    assert opposite.tolist() == [[0.0, 1.0]]  # a cosine of -1 is still better than unknown


def test_selection_does_not_depend_on_the_length_of_a_key():
    keys, known = torch.randn(5, 8), torch.ones(5)
    query = torch.randn(50, 8)
    longer = keys * torch.tensor([0.01, 1, 100, 1, 1000])[:, None]
    assert torch.equal(select_task(query, longer, known), select_task(query, keys, known))


def test_prefixes_stand_in_their_layers():
    g_prompt, e_prompt = torch.randn(2, 2, 5, 8), torch.randn(3, 2, 2, 4, 8)
    found = prefixes(g_prompt, e_prompt, (1, 0), (7, 3))
    assert found.keys() == {0, 1, 3, 7}
    for place, layer in enumerate((1, 0)):
        assert found[layer].shape == (1, 2, 5, 8)
        for half in range(2):
            for position in range(5):
                expected = g_prompt[place, half, position]
                assert torch.equal(found[layer][0, half, position], expected)
    for place, layer in enumerate((7, 3)):
        assert found[layer].shape == (3, 2, 4, 8)
        for image in range(3):
            for half in range(2):
                expected = e_prompt[image, place, half]
                assert torch.equal(found[layer][image, half], expected)


def test_either_prompt_may_be_missing():
    prompt = torch.randn(1, 2, 5, 8)
    assert prefixes(None, None, (), ()) == {}
    assert prefixes(prompt, None, (4,), (5,)).keys() == {4}
    assert prefixes(None, prompt[None], (4,), (5,)).keys() == {5}
