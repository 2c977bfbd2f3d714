"""A program runs its methods by name, and refuses what does not fit before the runtime sees it."""

import dataclasses
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from cbpnet.method.layout import methods_of
from mobile.device import program as program_module
from mobile.device.bundle import read_manifest, seal
from mobile.device.program import Program, fit_threads, get_threads, set_threads
from mobile.device.program_learner import ProgramLearner


@pytest.fixture
def program(bundle):
    return Program(bundle)


@pytest.fixture
def noise():
    return np.random.default_rng(0)


def stored(program):
    return program.call("initial_state", {})


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1.3e-6, atol=1e-5)


def drawn(noise, *shape):
    return noise.standard_normal(shape, dtype=np.float32)


def test_a_method_takes_and_gives_arrays_by_name(program, eager, noise):
    images = drawn(noise, 2, 3, 8, 8)
    found = program.call("query", {"other": np.zeros(1), "images": images})
    assert list(found) == ["query"]
    assert_close(found["query"], eager.query(images))


def channels_last(images):
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def backwards(images):
    return np.ascontiguousarray(images[:, :, ::-1])[:, :, ::-1]


def read_only(images):
    images = images.copy()
    images.flags.writeable = False
    return images


@pytest.mark.parametrize("stored_as", [channels_last, backwards, read_only])
def test_how_an_array_lies_in_memory_does_not_matter(program, eager, noise, stored_as):
    images = drawn(noise, 2, 3, 8, 8)
    found = program.call("query", {"images": stored_as(images)})["query"]
    assert_close(found, eager.query(images))


def test_what_was_returned_does_not_change_with_later_calls(program, noise):
    images = drawn(noise, 2, 3, 8, 8)
    first = program.call("query", {"images": images})["query"]
    kept = first.copy()
    program.call("query", {"images": -images})
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("gone", ["replaced", "deleted"])
def test_the_program_outlives_the_files_name(bundle, tmp_path, eager, noise, gone):
    path = tmp_path / "copy.pte"
    path.write_bytes(bundle.read_bytes())
    program = Program(path)
    if gone == "deleted":
        path.unlink()
    else:
        other = tmp_path / "other.pte"
        other.write_bytes(b"another bundle")
        other.replace(path)
    images = drawn(noise, 2, 3, 8, 8)
    for _ in range(2):
        found = program.call("query", {"images": images})["query"]
        assert_close(found, eager.query(images))
        program.release()


@pytest.mark.parametrize("released", [False, True])
def test_a_file_that_is_overwritten_is_not_used_any_more(bundle, tmp_path, released):
    path = tmp_path / "copy.pte"
    path.write_bytes(bundle.read_bytes())
    program = Program(path)
    program.call("initial_state", {})
    if released:
        program.release()
    os.utime(path, ns=(0, 0))  # as any write does
    for method in ("initial_state", "query"):
        with pytest.raises(InputError, match=r"copy\.pte was overwritten while it was in use"):
            program.call(method, {"images": np.zeros((2, 3, 8, 8), np.float32)})


def test_what_is_released_is_loaded_again(program, noise):
    images = drawn(noise, 2, 3, 8, 8)
    before = program.call("query", {"images": images})["query"]
    kept = before.copy()
    program.release()
    assert np.array_equal(before, kept)
    program.release()
    assert np.array_equal(program.call("query", {"images": images})["query"], kept)


def test_by_phase_methods_stay_loaded_that_are_called_in_turns(bundle, noise, monkeypatch):
    releases = []
    release = Program.release
    monkeypatch.setattr(Program, "release", lambda self: releases.append("-") or release(self))
    images, labels = drawn(noise, 2, 3, 8, 8), np.array([0, 1])
    found = []
    for by_phase in (False, True):
        learner = ProgramLearner(Program(bundle, by_phase))
        state = learner.stored_state()
        releases.clear()
        for _ in range(3):
            query = learner.query(images)
            known = learner.observe(state, query, labels)
            found.append(learner.predict(known, images, query)[0])
        assert len(releases) == (7 if by_phase else 0)
    assert all(np.array_equal(one, found[0]) for one in found)


def test_release_gives_memory_back(int8_bundle):
    """In a process of its own: a method's packed weights and buffers do not pile up."""
    code = """
import sys
from pathlib import Path
import numpy as np
from cbpnet.host.memory import resident_mb
from mobile.device.program import Program
program = Program(Path(sys.argv[1]))
image = np.zeros(program.manifest.methods["query"].inputs[0].shape, np.float32)
def rounds(count):
    for _ in range(count):
        program.call("query", {"images": image})
        program.release()
rounds(20)
before = resident_mb()
rounds(100)
print(resident_mb() - before)
"""
    command = [sys.executable, "-c", code, str(int8_bundle)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(output) < 4


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (None, "takes the tensor 'images', which is missing"),
        (
            np.zeros((3, 3, 8, 8), np.float32),
            r"as float32 \[2, 3, 8, 8\], not float32 \[3, 3, 8, 8\]",
        ),
        (np.zeros((2, 3, 8, 8)), r"not float64 \[2, 3, 8, 8\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(program, images, reason):
    tensors = {} if images is None else {"images": images}
    with pytest.raises(ValueError, match=reason):
        program.call("query", tensors)


def swap_inputs(manifest):
    method = manifest.methods["update"]
    swapped = dataclasses.replace(method, inputs=method.inputs[::-1])
    return dataclasses.replace(manifest, methods=manifest.methods | {"update": swapped})


def other_output(manifest):
    method = manifest.methods["query"]
    output = dataclasses.replace(method.outputs[0], shape=(2, 13))
    changed = dataclasses.replace(method, outputs=(output,))
    return dataclasses.replace(manifest, methods=manifest.methods | {"query": changed})


def without_observe(manifest):
    methods = {name: info for name, info in manifest.methods.items() if name != "observe"}
    return dataclasses.replace(manifest, methods=methods)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swap_inputs, "its method 'update' takes other tensors than its manifest says"),
        (other_output, "its method 'query' gives other tensors"),
        (without_observe, "lacks the method 'observe'"),
    ],
)
def test_a_manifest_that_does_not_describe_the_program_is_refused(
    bundle, program_in, tmp_path, change, reason
):
    path = tmp_path / "x.pte"
    path.write_bytes(seal(program_in(bundle), change(read_manifest(bundle))))
    with pytest.raises(InputError, match=reason):
        Program(path)


def test_threads_are_set_for_all_programs():
    before = get_threads()
    try:
        for count in (1, 3):
            set_threads(count)
            assert get_threads() == count
    finally:
        set_threads(before)
    with pytest.raises(InputError, match="threads is 0; it must be at least 1"):
        set_threads(0)


def test_threads_fit_what_is_free_until_they_are_set(monkeypatch):
    before, free = get_threads(), iter((1, 3, 2))
    monkeypatch.setattr(program_module, "free_cores", lambda: next(free))
    monkeypatch.setattr(program_module, "_FIXED", threading.Event())
    try:
        for count in (1, 3):
            fit_threads()
            assert get_threads() == count
        set_threads(4)
        fit_threads()
        assert get_threads() == 4
    finally:
        set_threads(before)


def test_programs_answer_the_same_after_threads_were_set(program, noise):
    """Their methods know the pool that they were loaded with, and it is gone."""
    images = drawn(noise, 2, 3, 8, 8)
    before, expected = get_threads(), program.call("query", {"images": images})["query"]
    try:
        for count in (1, 3, 2):
            set_threads(count)
            assert np.array_equal(program.call("query", {"images": images})["query"], expected)
    finally:
        set_threads(before)


def test_two_programs_in_two_threads_answer_as_alone(bundle, other_bundle, noise):
    programs = [Program(bundle), Program(other_bundle), Program(bundle)]
    images = [drawn(noise, 50, 2, 3, 8, 8) for _ in programs]
    alone = [
        [program.call("query", {"images": batch})["query"] for batch in batches]
        for program, batches in zip(programs, images, strict=True)
    ]
    together = [[] for _ in programs]

    def run(index):
        for batch in images[index]:
            together[index].append(programs[index].call("query", {"images": batch})["query"])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(programs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, found in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_every_method_is_there(program):
    assert set(methods_of(program.manifest.config)) == set(program.manifest.methods)
    for name, value in stored(program).items():
        assert value.dtype == np.float32, name


def test_the_runtime_keeps_to_itself_how_many_threads_it_has(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = get_threads()
    set_threads(before)
    assert capfd.readouterr() == ("", "")
