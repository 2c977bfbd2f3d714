import json

import numpy as np
import pytest
import torch

from cbpnet.host.errors import InputError
from cbpnet.study.diagnosis import Diagnosis
from cbpnet.study.plasticity import PairConfig, PairRuns
from cbpnet.study.plasticity_report import PairStudy, format_studies, mean_by_fifth, write_studies


@pytest.fixture
def study():
    """Two seeds over ten tasks: from 1.0 and 0.8 in the first fifth to 0.5 in the last."""
    accuracy = np.full((2, 10), 0.7)
    accuracy[:, :2] = [[1.0, 1.0], [0.7, 0.9]]
    accuracy[:, 8:] = 0.5
    diagnoses = tuple(
        Diagnosis(
            tasks,
            torch.tensor([0.0, dormant]),
            torch.tensor([4.0, 3.0]),
            torch.tensor([0.1, 0.3]),
            torch.tensor([1.0, 2.0]),
        )
        for tasks, dormant in ((1, 0.0), (5, 0.5), (10, 1.0))
    )
    config = PairConfig(tasks=10, hidden=4, form="bottleneck", lr=0.03)
    return PairStudy(config, {"plain": PairRuns(accuracy, diagnoses)})


def test_mean_by_fifth(study):
    fifths = mean_by_fifth(study.runs["plain"].accuracy)
    np.testing.assert_allclose(fifths, [[1.0, 0.7, 0.7, 0.7, 0.5], [0.8, 0.7, 0.7, 0.7, 0.5]])
    with pytest.raises(InputError, match="4 tasks"):
        mean_by_fifth(np.ones((2, 4)))


def test_the_table_says_means_deviations_and_the_course_of_the_block(study):
    title, _, header, rule, row = format_studies([study]).splitlines()
    assert title == "bottleneck, step size 0.03"
    assert len(header) == len(rule) == len(row)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "plain",
        "90.00 ± 14.14",
        "50.00 ± 0.00",
        "-40.00 ± 14.14",
        "0, 25, 50",
        "3.5, 3.5, 3.5",
        "0.20, 0.20, 0.20",
        "1.50, 1.50, 1.50",
    ]


def test_one_seed_has_no_deviation(study):
    alone = PairRuns(study.runs["plain"].accuracy[:1], study.runs["plain"].diagnoses)
    row = format_studies([PairStudy(study.config, {"one": alone})]).splitlines()[-1]
    assert row.split("|")[4].strip() == "-50.00"


def test_the_files(study, tmp_path):
    written = write_studies([study], (4, 5), {"dataset": "planted"}, tmp_path / "out")
    names = [path.name for path in written]
    assert names == ["table.md", "results.json", "bottleneck-0.03.png"]
    assert all(path.stat().st_size for path in written)
    assert "- dataset: planted" in written[0].read_text()
    document = json.loads(written[1].read_text())
    assert document["seeds"] == [4, 5]
    (kept,) = document["studies"]
    assert kept["config"]["lr"] == 0.03
    assert kept["variants"]["plain"]["accuracy"] == study.runs["plain"].accuracy.tolist()
    assert kept["variants"]["plain"]["diagnoses"][2]["dormant"] == [0.0, 1.0]
