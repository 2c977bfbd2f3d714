"""A bundle that nobody has tried runs once in a process of its own, which may die of it."""

import subprocess
import sys

import pytest

from cbpnet.host.errors import InputError
from mobile.device import trial
from mobile.device.bundle import open_bundle
from mobile.device.engines.choice import choose_engine


@pytest.fixture
def attempt(bundle):
    """Try the bundle; with ``start``, what the process does in place of trying it."""

    def run(start=None, **settings):
        opened = open_bundle(bundle)
        with pytest.MonkeyPatch.context() as patch, opened.file:
            for name, value in settings.items():
                patch.setattr(trial, name, value)
            if start is not None:
                patch.setattr(trial, "_START", start)
            trial.try_bundle(bundle, opened.file, opened.manifest, choose_engine().name)

    return run


def test_a_bundle_passes(attempt):
    attempt()


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (
            "import os; os.kill(os.getpid(), 11)",
            r"ends the process \(SIGSEGV\)",
        ),
        ("import os; os.abort()", r"ends the process \(SIGABRT\)"),
        ("raise RuntimeError('strange')", "fails: RuntimeError: strange"),
        ("print('noise'); print('gives what is no number')", "gives what is no number"),
    ],
)
def test_what_becomes_of_the_process_is_said(attempt, bundle, start, reason):
    with pytest.raises(InputError, match=rf"^bundle {bundle} is not run: tried in .*{reason}; exp"):
        attempt(start)


def test_a_program_that_does_not_end_is_ended(attempt):
    """By the time that it takes of the processor, whatever else runs."""
    spin = (
        "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given.pop('path')\n"
        "from mobile.device import trial_child\n"
        "def turn(program, manifest):\n"
        "    while True: pass\n"
        "trial_child._tried = turn; trial_child.run_trial(**given)"
    )
    with pytest.raises(InputError, match=r"it does not end within 1 seconds of the processor"):
        attempt(spin, _SECONDS=1, _MACS=1 << 62)


def test_a_program_that_takes_too_much_memory_is_refused(attempt):
    fill = (
        "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given.pop('path')\n"
        "from mobile.device import trial_child\n"
        "trial_child._tried = lambda program, manifest: bytearray(1 << 36)\n"
        "trial_child.run_trial(**given)"
    )
    with pytest.raises(InputError, match=r"it takes more than [\d,]+ bytes of memory"):
        attempt(fill)


def test_where_no_process_can_be_started_nothing_is_tried(attempt, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    attempt()


def test_nothing_is_imported_from_the_working_directory(attempt, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    attempt()


def test_it_has_no_network_where_it_may_leave_it():
    code = """
import os
from mobile.device.trial_child import _leave_network
before = os.readlink("/proc/self/ns/net")
_leave_network()
print(before != os.readlink("/proc/self/ns/net"))
"""
    allowed = subprocess.run(["unshare", "-r", "-n", "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("no process may leave the network here")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
