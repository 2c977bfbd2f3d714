"""Commands are ended from outside, in native code that never returns too, and import nothing of the
working directory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mobile.cli.ending import STOPPED

ROOT = Path(__file__).parents[3]
# A command's work is replaced. It hangs as a runtime does that keeps Python's lock: in a mutex,
# which no signal interrupts.
REPLACED = """
import ctypes, os, signal, sys, tempfile
from mobile.cli import ending, main
from mobile.cli.presets import presets
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
mutex = ctypes.create_string_buffer(64)
hang = lambda: [ctypes.PyDLL(None).pthread_mutex_lock(mutex) for _ in range(2)]
def deaf(*signals):
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
def work(**options):
    try:
        {first}
        print(os.getpid(), tempfile.mkdtemp(), flush=True)
        {work}
    finally:
        print("tidied", flush=True)
presets.callback = work
{before}
sys.argv[1:] = ["presets"]
main()
"""


def start(
    work: str, first: str = "", before: str = "", temporary: Path | None = None, **options: object
) -> subprocess.Popen[str]:
    """Start a command that does this work; its first line tells its process and folder."""
    code = REPLACED.format(work=work, first=first, before=before)
    environment = os.environ | ({} if temporary is None else {"TMPDIR": str(temporary)})
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def first_line(process: subprocess.Popen[str]) -> tuple[int, Path]:
    assert process.stdout is not None
    number, folder = process.stdout.readline().split()
    return int(number), Path(folder)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("deaf", [False, True])
def test_one_signal_ends_a_command_whatever_it_is_in(tmp_path: Path, deaf: bool, stop: int) -> None:
    first = f"deaf({int(stop)})" if deaf else ""
    with start("hang()" if deaf else "signal.pause()", first, temporary=tmp_path) as process:
        child, folder = first_line(process)
        assert folder.parent == tmp_path
        process.send_signal(stop)
        _, said = process.communicate()
    assert process.returncode == 128 + stop
    assert said == f"{STOPPED}\n"
    assert not is_running(child)
    if deaf:
        assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_a_terminal_reaches_the_whole_group_and_is_heard_once() -> None:
    with start("signal.pause()", start_new_session=True) as process:
        first_line(process)
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate()
    assert (process.returncode, out, said) == (130, "tidied\n", f"{STOPPED}\n")


def test_a_second_signal_ends_it_at_once() -> None:
    with start("hang()", before="ending._GRACE = 1_000_000") as process:
        first_line(process)
        while process.poll() is None:  # two that come at once are one
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        _, said = process.communicate()
    assert (process.returncode, said) == (143, f"{STOPPED}\n")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "error: the process was killed (SIGKILL), most likely by the system for"),
        (signal.SIGSEGV, "error: native code ended the process (SIGSEGV); a bundle, a picture or"),
    ],
)
def test_a_crash_is_a_sentence(number: int, said: str) -> None:
    with start(f"os.kill(os.getpid(), {int(number)})") as process:
        _, found = process.communicate()
    assert process.returncode == 128 + number
    assert found.startswith(said)
    assert found.count("\n") == 1


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_the_commands_own(status: int) -> None:
    with start(f"sys.exit({status})") as process:
        process.communicate()
    assert process.returncode == status


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_program_leaves_no_child() -> None:
    with start("hang()") as process:
        child, _ = first_line(process)
        process.kill()
    while is_running(child):
        time.sleep(0.01)


def is_running(number: int) -> bool:
    """Whether there is such a process, which nobody need have waited for when it has ended."""
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A working directory whose modules leave a mark where they are imported."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in ("click", "executorch", "json", "msgspec", "multiprocessing", "numpy", "tqdm"):
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'mark')!r}, 'a').write({name!r})\nraise SystemExit(77)\n"
        )
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "learn {bundle} --images {photos} --out {out}/state --result {out}/learn.json",
        "latency {bundle} --threads 1 --runs 1 --rest 0 --out {out}/latency.json",
        "bench {bundle} --runs 1",
    ],
)
def test_no_child_imports_from_the_working_directory(
    bundle: Path,
    write_classes: Callable[..., Path],
    tmp_path: Path,
    hostile: Path,
    command,
) -> None:
    photos = write_classes(tmp_path / "photos", "red")
    arguments = command.format(bundle=bundle, photos=photos, out=tmp_path / "out").split()
    program = "from mobile.cli import main; main()"
    result = in_folder(hostile, "-P", "-c", program, *arguments)
    assert result.returncode == 0, result.stderr
    assert not (hostile / "mark").exists()


def test_python_m_mobile_imports_nothing_of_the_working_directory(hostile: Path) -> None:
    result = in_folder(hostile, "-m", "mobile", "presets")
    assert result.returncode == 0, result.stderr
    assert not (hostile / "mark").exists()


def in_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
