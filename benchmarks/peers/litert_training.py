"""LiteRT (TensorFlow Lite), with its XNNPACK delegate."""

from pathlib import Path

import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor

from benchmarks.step import Step
from benchmarks.worker import Operations
from cbpnet.method.layout import POOL_OF
from cbpnet.method.prompts import one_hot

__all__ = ["load", "start"]

_threads = [1]


def start(threads: int) -> None:
    """Set the runtime's threads."""
    torch.set_num_threads(1)
    _threads[0] = threads


def load(step: Step, program: Path, variant: str) -> Operations:
    """Return forward and backward pass on one image; the optimiser is left to the host."""
    interpreter = Interpreter(model_content=program.read_bytes(), num_threads=_threads[0])
    run = interpreter.get_signature_runner()
    names = [name.replace("_", ".", 1) for name in run.get_output_details()]
    current = int(step.state["tasks.current"])
    trained = {
        name.replace(".", "_"): (
            step.state[POOL_OF[name]][current : current + 1]
            if name in POOL_OF
            else step.state[name]
        ).numpy()
        for name in names
    }

    def gradients(turn: int) -> dict[str, Tensor]:
        images, query, labels = step.batch(turn)
        found = run(
            image=images[0].numpy(),
            query=query.numpy(),
            target=one_hot(labels, step.model.classes).numpy(),
            **trained,
        )
        return {name.replace("_", ".", 1): torch.from_numpy(value) for name, value in found.items()}

    return {"gradients": gradients}
