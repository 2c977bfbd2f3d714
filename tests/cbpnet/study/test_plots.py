import matplotlib
import numpy as np
import pytest
from PIL import Image

from cbpnet.host.errors import InputError
from cbpnet.run.metrics import MethodKind, RunResult, summarise
from cbpnet.study.plots import plot_accuracy_over_tasks, plot_matrix, plot_methods, plot_stream

BLUE = (0x00, 0x72, 0xB2)
VERMILION = (0xD5, 0x5E, 0x00)
LIGHT_BLUE = (0x9F, 0xC5, 0xE0)
GREY = (0xC8, 0xC8, 0xC8)


def run(method="CBPNet", seed=0, tasks=3, accuracy=0.8, kind=MethodKind.GRADIENT):
    matrix = np.full((tasks, tasks), np.nan)
    for task in range(tasks):
        matrix[task, : task + 1] = accuracy - 0.01 * seed
    return RunResult(method, seed, matrix, (20,) * tasks, None, 1.0, 1.0, 1.0, kind)


def pixels(path):
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count(image, colour):
    return int((np.abs(image.astype(int) - colour).sum(axis=2) <= 6).sum())


def where(image, colour):
    rows, columns = np.nonzero(np.abs(image.astype(int) - colour).sum(axis=2) <= 6)
    return rows, columns


def test_matrix_shows_learnt_tasks_below_the_diagonal_only(tmp_path):
    plot_matrix(run(tasks=3, accuracy=0.5), tmp_path / "matrix.png")
    image = pixels(tmp_path / "matrix.png")
    colour = np.array(matplotlib.colormaps["cividis"](0.5)[:3]) * 255
    cells = np.abs(image - colour).sum(axis=2) <= 6
    cells = cells[:, cells.sum(axis=0) > 60]  # without the colour bar, which has it on few rows
    cells = cells[cells.any(axis=1)]
    # Three by three squares of equal size; labels cover a little of those that are filled.
    filled = [[part.mean() for part in np.array_split(row, 3, axis=1)]
              for row in np.array_split(cells, 3)]  # fmt: skip
    assert np.abs(np.array(filled) - np.tri(3)).max() < 0.1


@pytest.mark.parametrize("tasks", [1, 25])
def test_matrix_of_one_and_of_many_tasks(tmp_path, tasks):
    plot_matrix(run(tasks=tasks), tmp_path / "matrix.png")
    assert pixels(tmp_path / "matrix.png").std() > 10


def test_accuracy_over_tasks_draws_a_line_and_a_band_for_each_method(tmp_path):
    runs = [run("low", seed, accuracy=0.5) for seed in (0, 1)]
    runs.append(run("high", accuracy=0.9))
    plot_accuracy_over_tasks(runs, tmp_path / "curves.png")
    image = pixels(tmp_path / "curves.png")
    assert count(image, BLUE) > 200
    assert count(image, VERMILION) > 200
    # 0.15 of the first colour over white; only the method with two seeds has a band.
    assert count(image, [255 - 0.15 * (255 - c) for c in BLUE]) > 200
    assert count(image, [255 - 0.15 * (255 - c) for c in VERMILION]) == 0
    plot = image[:, : int(image.shape[1] * 0.8)]
    assert where(plot, VERMILION)[0].mean() < where(plot, BLUE)[0].mean()


def test_bars_are_as_long_as_the_accuracy_and_shaded_by_kind(tmp_path):
    runs = [
        run("CBPNet", accuracy=0.8),
        run("ridge", accuracy=0.4, kind=MethodKind.CLOSED_FORM),
        run("linear probe", accuracy=0.6, kind=MethodKind.UPPER_BOUND),
    ]
    plot_methods(summarise(runs), tmp_path / "methods.png")
    image = pixels(tmp_path / "methods.png")[120:]  # below title and legend
    lengths = {}
    for name, colour in (("CBPNet", BLUE), ("ridge", LIGHT_BLUE), ("linear probe", GREY)):
        lengths[name] = np.bincount(where(image, colour)[0]).max()
    assert lengths["ridge"] / lengths["CBPNet"] == pytest.approx(0.5, abs=0.02)
    assert lengths["linear probe"] / lengths["CBPNet"] == pytest.approx(0.75, abs=0.02)


def test_first_method_is_on_top(tmp_path):
    runs = [run("ridge", kind=MethodKind.CLOSED_FORM), run("CBPNet")]
    plot_methods(summarise(runs), tmp_path / "methods.png")
    image = pixels(tmp_path / "methods.png")[120:]
    assert where(image, LIGHT_BLUE)[0].mean() < where(image, BLUE)[0].mean()


def test_stream_is_smoothed_over_the_window(tmp_path):
    # 0.4, 0.6, 0.4, 0.6, ... averaged over two tasks is a level line.
    zigzag = np.tile([0.4, 0.6], 30)[None]
    heights = {}
    for window in (1, 2):
        plot_stream({"CBP": zigzag}, tmp_path / "stream.png", window)
        image = pixels(tmp_path / "stream.png")
        rows, columns = where(image, BLUE)
        heights[window] = np.ptp(rows[columns < image.shape[1] * 0.75])
    assert heights[1] > 300
    assert heights[2] < 10


def test_stream_draws_a_band_over_seeds(tmp_path):
    curves = {"CBP": np.array([[0.9] * 10, [0.8] * 10])}
    plot_stream(curves, tmp_path / "stream.png", window=3)
    assert count(pixels(tmp_path / "stream.png"), [255 - 0.15 * (255 - c) for c in BLUE]) > 1000


@pytest.mark.parametrize(("shape", "window"), [((5,), 2), ((1, 5), 6), ((1, 5), 0)])
def test_stream_refuses_a_bad_curve_or_window(tmp_path, shape, window):
    with pytest.raises(InputError, match=rf"the curve 'CBP' .* the window is {window}"):
        plot_stream({"CBP": np.zeros(shape)}, tmp_path / "stream.png", window)


def test_caption_stands_below_the_plot(tmp_path):
    plot_matrix(run(), tmp_path / "bare.png")
    plot_matrix(run(), tmp_path / "captioned.png", "backbone: vit_tiny; seeds: 0, 1; " * 6)
    bare, captioned = pixels(tmp_path / "bare.png"), pixels(tmp_path / "captioned.png")
    assert captioned.shape[0] > bare.shape[0]
    assert captioned.shape[1] == bare.shape[1]
    assert (captioned[-45:] < 200).any()
