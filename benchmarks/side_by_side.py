"""Peers side by side: the same step in turns, with the ratios pair by pair."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.pairs import Call, Comparison, Samples, Spread, ratios, take_turns, times
from benchmarks.peer_programs import Made, get_program
from benchmarks.peers import EXACT, PEERS, REFERENCE, Peer
from benchmarks.step import load_step
from benchmarks.worker import AbsentError, Assignment, Worker
from cbpnet.host.errors import InputError
from quantize.distance import flat_cosine

__all__ = ["PeerFigures", "SideBySide", "compare_peers", "least_cosine"]

_SLOW_ROUNDS = 10  # a slow peer takes part in one of so many
_PAUSE = 0.02  # seconds, in which the threads of the runtime before stop spinning
_LEAST_COSINE = 0.9999
_CALLS = 3

Say = Callable[[str], object]


@dataclass(frozen=True)
class PeerFigures:
    """What was found of a peer.

    ``cosine`` is the least one, over the trainables, of its gradients of all images with those of
    `EXACT`. ``learning_mb`` and ``load_ms`` are a worker's; ``made`` is None without a program.
    """

    load_ms: float
    learning_mb: float
    cosine: float
    made: Made | None
    times: dict[str, Spread]


@dataclass(frozen=True)
class SideBySide:
    """The figures with a number of threads; ``absent`` says why a peer is missing."""

    threads: int
    peers: dict[str, PeerFigures]
    absent: dict[str, str]
    ratios: dict[tuple[Call, Call], Spread]


def compare_peers(
    step: Path,
    names: Sequence[str],
    threads: int,
    rounds: int,
    say: Say = lambda text: None,
    progress: Callable[[int], object] = lambda rounds: None,
) -> SideBySide:
    """Measure peers on a step; `REFERENCE` and `EXACT` are among them in any case.

    Raises:
        InputError: one of these two cannot be run.
    """
    absent: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    made: dict[str, Made | None] = {}
    chosen = {name: PEERS[name] for name in PEERS if name in {*names, REFERENCE, EXACT}}
    with ExitStack() as stack:
        for name, peer in chosen.items():
            say(f"{peer.title}: preparing")
            try:
                made[name] = get_program(step, name, peer)
                workers[name] = _employ(step, peer, made[name], threads)
                stack.callback(workers[name].close)
            except AbsentError as error:
                if name in (REFERENCE, EXACT):
                    raise InputError(f"{peer.title} cannot be run: {error}") from error
                absent[name] = str(error)
        cosines = _check(step, workers, absent)
        comparisons = _comparisons({name: workers[name].operations for name in cosines})
        samples = take_turns(comparisons, rounds, _measurer(workers), progress)
    return _summarise(threads, workers, cosines, made, absent, samples)


def least_cosine(found: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> float:
    """Return the least cosine of two steps' gradients, over the trainables.

    Trainables' names have a dot in them; the sums hold the step's statistics too.
    """
    return min(flat_cosine(value, found[name]) for name, value in exact.items() if "." in name)


def _employ(step: Path, peer: Peer, made: Made | None, threads: int) -> Worker:
    program = made.path if made else None
    return Worker(Assignment(peer.module, peer.variant, step, program, threads))


def _check(step: Path, workers: Mapping[str, Worker], absent: dict[str, str]) -> dict[str, float]:
    """Return the cosines of the peers whose gradients are right; the others become absent."""
    model = load_step(step).model
    turns = len(load_step(step).labels) // model.micro_batch
    gradients = {name: _batch_gradients(worker, turns) for name, worker in workers.items()}
    cosines = {}
    for name, found in gradients.items():
        cosine = least_cosine(found, gradients[EXACT])
        if PEERS[name].exact and not cosine > _LEAST_COSINE:
            absent[name] = f"its gradients are others: their cosine is {cosine:.5f}"
        else:
            cosines[name] = cosine
    return cosines


def _batch_gradients(worker: Worker, turns: int) -> dict[str, Tensor]:
    """Return the gradients of all images."""
    total = worker.outputs("gradients", 0)
    for turn in range(1, turns):
        total = {
            name: total[name] + value for name, value in worker.outputs("gradients", turn).items()
        }
    return total


def _comparisons(operations: Mapping[str, Sequence[str]]) -> list[Comparison]:
    """Return every operation against the reference's, and the reference's among themselves."""
    ours = Call(REFERENCE, "gradients")
    found = [
        Comparison(Call(name, operation), Call(REFERENCE, operation), _every(name))
        for name, names in operations.items()
        if name != REFERENCE
        for operation in names
    ]
    return [
        Comparison(ours, Call(REFERENCE, "predict")),
        Comparison(Call(REFERENCE, "update"), ours),
        *found,
    ]


def _every(name: str) -> int:
    return _SLOW_ROUNDS if PEERS[name].slow else 1


def _measurer(workers: Mapping[str, Worker]) -> Callable[[Call, int], float]:
    def measure(call: Call, turn: int) -> float:
        """Return the mean milliseconds of calls that follow one another."""
        time.sleep(_PAUSE)
        slow = PEERS[call.peer].slow
        taken = workers[call.peer].times(call.operation, turn, *((0, 1) if slow else (1, _CALLS)))
        return sum(taken) / len(taken)

    return measure


def _summarise(
    threads: int,
    workers: Mapping[str, Worker],
    cosines: Mapping[str, float],
    made: Mapping[str, Made | None],
    absent: dict[str, str],
    samples: Mapping[Comparison, Samples],
) -> SideBySide:
    spreads = times(samples)
    peers = {
        name: PeerFigures(
            workers[name].load_ms,
            workers[name].learning_mb,
            cosine,
            made[name],
            {call.operation: value for call, value in spreads.items() if call.peer == name},
        )
        for name, cosine in cosines.items()
    }
    found = {(pair.over, pair.under): ratios(values) for pair, values in samples.items()}
    return SideBySide(threads, peers, absent, found)
