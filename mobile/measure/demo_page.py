"""The page that the demo leaves: how well was learnt, and pictures with the program's answers."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cbpnet.host.atomic import write_atomically
from cbpnet.run.metrics import RunResult, accuracy_over_tasks
from mobile.device.prediction import Prediction
from mobile.measure.charts import Line, LineChart
from mobile.measure.pages import render_page

__all__ = ["Picture", "write_demo_page"]

_BEST = 3  # answers to a picture


@dataclass(frozen=True)
class Picture:
    """A picture's PNG file, its right label, and what the program takes it for."""

    path: Path
    label: str
    answer: Prediction

    @property
    def right(self) -> bool:
        """Whether the best answer is the right one."""
        return self.answer.label == self.label

    @property
    def ranking(self) -> tuple[tuple[str, float], ...]:
        """The best answers with their probabilities."""
        return self.answer.ranking[:_BEST]

    @property
    def data(self) -> str:
        """The file as a URL that holds it all."""
        return f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode()}"


def write_demo_page(
    path: Path,
    summary: str,
    tasks: Sequence[str],
    results: Sequence[RunResult],
    pictures: Sequence[Picture],
    command: str,
    conditions: Mapping[str, object],
) -> None:
    """Write one HTML file that holds everything, pictures and curves too.

    Args:
        path: the file.
        summary: what happened, in a sentence.
        tasks: what each task is called.
        results: one run of each method, over these tasks.
        pictures: what is shown of the program's answers.
        command: what gives these answers in a terminal.
        conditions: what the figures depend on, by name.

    Raises:
        InputError: the file cannot be written.
    """
    rows = [(run.method, accuracy_over_tasks(run.matrix).tolist()) for run in results]
    lines = [
        Line(method, [(float(task), 100 * share) for task, share in enumerate(shares, 1)], number)
        for number, (method, shares) in enumerate(rows)
    ]
    page = render_page(
        "demo.html",
        summary=summary,
        tasks=tasks,
        rows=rows,
        chart=LineChart("Average accuracy, %", "tasks learnt", lines, from_zero=False, whole=True),
        pictures=pictures,
        command=command,
        conditions=conditions,
    )
    write_atomically(path, page.encode())
