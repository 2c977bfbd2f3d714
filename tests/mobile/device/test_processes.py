"""A learner goes to other processes: pickled to new ones, and not at all to forked ones."""

import multiprocessing
import pickle
import subprocess
import sys

import pytest

from cbpnet.host.errors import InputError
from mobile.device.program import Program
from mobile.device.runtime import OnDeviceLearner


@pytest.fixture
def learner(one_pass_bundle, pictures):
    learner = OnDeviceLearner(one_pass_bundle)
    learner.learn({"red": pictures("red", 4), "blue": pictures("blue", 4)}, seed=0)
    return learner


def answers(learner, images):
    return [(each.label, each.probability) for each in learner.predict(images)]


def test_an_unpickled_learner_knows_and_learns_the_same(learner, pictures):
    again = pickle.loads(pickle.dumps(learner))
    assert answers(again, pictures("red", 3, 7)) == answers(learner, pictures("red", 3, 7))
    for one in (learner, again):
        one.learn({"green": pictures("green", 4)}, seed=1)
    assert again.class_names == learner.class_names == ("red", "blue", "green")
    assert answers(again, pictures("green", 3, 7)) == answers(learner, pictures("green", 3, 7))


def test_a_spawned_process_takes_a_learner(learner, pictures):
    images = pictures("blue", 3, 7)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(answers, (learner, images)) == answers(learner, images)


def test_another_file_in_its_place_is_refused(bundle, other_bundle, tmp_path):
    path = tmp_path / "x.pte"
    path.write_bytes(bundle.read_bytes())
    pickled = pickle.dumps(Program(path))
    path.unlink()
    path.write_bytes(other_bundle.read_bytes())
    with pytest.raises(InputError, match=r"x\.pte is another one than was pickled; right would be"):
        pickle.loads(pickled)


FORKED = """
import multiprocessing, sys, threading, warnings
import numpy as np
from cbpnet.host.errors import InputError
from mobile.device.program import Program
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, as it is here
from pathlib import Path
path = Path(sys.argv[1])
program = Program(path)
images = {"images": np.zeros((2, 3, 8, 8), np.float32)}

def say(call, pipe):
    try:
        call()
    except InputError as error:
        pipe.send(str(error))

running = True
def predict():
    while running:
        program.call("query", images)

thread = threading.Thread(target=predict)
thread.start()
fork = multiprocessing.get_context("fork")
calls = [lambda: program.call("query", images), lambda: Program(path), program.release]
said = set()
for call in calls * 3:
    here, there = fork.Pipe()
    child = fork.Process(target=say, args=(call, there))
    child.start()
    there.close()
    said.add(here.recv())
    child.join()
running = False
thread.join()
print(*said, sep="\\n")
"""


def test_a_forked_process_says_that_it_cannot(bundle):
    """In a process of its own, with a thread that predicts meanwhile and may hold any lock."""
    command = [sys.executable, "-c", FORKED, str(bundle)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (sentence,) = said
    assert sentence.startswith("this process was forked from one that runs bundles")
    assert sentence.endswith("multiprocessing starts with its method 'spawn'")
