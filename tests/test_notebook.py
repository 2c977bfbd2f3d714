"""The notebook runs from its first cell to its last, and what it then says of its results is so."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from cbpnet.data.digits import load_digits

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples/learn_digits.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = {
    f"cell {number}": "".join(cell["source"])
    for number, cell in enumerate(CELLS)
    if cell["cell_type"] == "code"
}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is defined at the notebook's end; each cell runs as a file of its own name."""
    names: dict[str, Any] = {}
    matplotlib.use("agg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        for name, source in CODE.items():
            exec(compile(source, f"{NOTEBOOK.name}, {name}", "exec"), names)
    return names


def test_it_is_stored_without_outputs() -> None:
    assert all(not cell.get("outputs") for cell in CELLS)
    assert all(cell.get("execution_count") is None for cell in CELLS)


def test_it_imports_faces_only() -> None:
    imports = [line.split()[1] for line in CODE["cell 1"].splitlines() if line.startswith("from ")]
    ours = [name for name in imports if name.startswith(("cbpnet", "mobile", "quantize"))]
    assert ours
    assert max(name.count(".") for name in ours) == 1


def test_every_digit_is_known_at_its_end(notebook: dict[str, Any]) -> None:
    assert notebook["found"].class_names == load_digits().class_names
    assert (notebook["state"]["classes.task"] >= 0).all()


def test_its_matrices_are_whole_and_far_from_chance(notebook: dict[str, Any]) -> None:
    assert len(notebook["matrices"]) == 5
    for matrix in notebook["matrices"].values():
        assert np.isnan(matrix).tolist() == np.triu(np.ones((4, 4), dtype=bool), k=1).tolist()
        assert matrix[-1].mean() > 0.4


def test_the_first_lesson_in_one_pass_adapts(notebook: dict[str, Any]) -> None:
    assert notebook["known"]["lessons.count"].item() == len(notebook["stream"].tasks)
    assert notebook["known"]["lessons.adapted"].item() >= 1
    assert int((notebook["known"]["classes.count"] > 0).sum()) == len(load_digits().class_names)


def test_shares_of_selected_prompts_add_up(notebook: dict[str, Any]) -> None:
    np.testing.assert_allclose(notebook["selected"].sum(axis=1), np.ones(4), rtol=1e-6)


def test_the_eager_rate_replaced_units_and_the_preset_s_did_not(notebook: dict[str, Any]) -> None:
    training = notebook["training"]
    steps = sum(training.steps(len(task.train)) for task in notebook["stream"].tasks)
    assert (notebook["state"]["cbp.age"] == steps).all()
    assert len(np.unique(notebook["replaced"]["cbp.age"])) > 1
