"""What the engines have in common besides their numbers: threads, silence, and clear refusals."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from mobile.device.bundle import read_manifest
from mobile.device.engines.choice import choose_engine
from mobile.device.engines.engine import EngineError
from mobile.device.program import Program


def test_an_engine_says_what_it_consists_of(engine: str) -> None:
    versions = choose_engine(engine).versions
    assert engine in versions
    assert versions["executorch"].startswith("1.")


START = """
from mobile.device.engines import choice
choice.free_cores = lambda: 3
print(choice.choose_engine().get_threads())
"""


def test_it_starts_with_a_thread_for_each_free_core(engine: str) -> None:
    """In a new process: there is one of each engine in a process, and this one has started."""
    command = [sys.executable, "-c", START]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "3\n"


def test_threads_are_set_in_silence(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    chosen = choose_engine(engine)
    before = chosen.get_threads()
    try:
        for count in (1, 3, 2):
            chosen.set_threads(count)
            assert chosen.get_threads() == count
    finally:
        chosen.set_threads(before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"no program at all", bytes(1000)])
def test_what_is_no_program_is_refused_with_a_reason(
    engine: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "x.pte"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"; \w+"):  # what it says itself, then the reason
        choose_engine(engine).load(str(path))
    assert capfd.readouterr() == ("", "")


def test_a_call_that_does_not_fit_is_refused_with_a_reason(
    engine: str, vectors: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = vectors / "tasks_fp32" / "bundle.pte"
    (images,) = read_manifest(path).methods["query"].inputs
    program = choose_engine(engine).load(str(path))
    with pytest.raises(EngineError, match=r"[Dd]ouble|expected"):
        program.run("query", [np.zeros(images.shape)])
    assert capfd.readouterr() == ("", "")


def test_a_bundle_that_would_load_a_library_is_refused_by_name(
    engine: str, vectors: Path, tmp_path: Path
) -> None:
    """Another delegate's name in the place of XNNPACK's, and the bundle sealed anew."""
    content = (vectors / "tasks_fp32" / "bundle.pte").read_bytes()[:-32]
    ours, other = b"XnnpackBackend", b"QnnBackend"
    ours, other = (len(name).to_bytes(4, "little") + name for name in (ours, other))
    assert ours in content
    content = content.replace(ours, other.ljust(len(ours), b"\0"), 1)
    path = tmp_path / "x.pte"
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(InputError, match="runs in the delegate 'QnnBackend'"):
        Program(path)


def test_a_program_is_opened_and_run_in_silence(
    engine: str, vectors: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = Program(vectors / "tasks_int8" / "bundle.pte")
    (images,) = program.manifest.methods["query"].inputs
    program.call("query", {"images": np.zeros(images.shape, np.float32)})
    program.release()
    assert capfd.readouterr() == ("", "")
