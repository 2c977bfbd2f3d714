"""How a command ends: when it is told to, whatever native code it is in, and with a word on why.

Python hears a signal when native code returns, which a damaged bundle's may never do, and a crash
of native code says nothing. So a program's work is done in a child process. This one waits, hears
every signal at once, and kills the child where it has not ended in time.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from cbpnet.host.processes import end_with

__all__ = ["STOPPED", "Stopped", "in_a_child", "leave_at_once", "stoppable"]

STOPPED = (
    "stopped; a state is that of the last finished lesson; benchmark, evaluate, stream, train and "
    "watch, run again, go on from what was finished"
)
_STOPS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 1.5  # seconds from a signal to the end


class Stopped(BaseException):
    """The process was asked to end; what it has open is closed on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` where the process is asked to end, and be deaf from then on."""
    asked = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _stops()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if asked else handler)


def in_a_child() -> None:
    """Go on in a child process; this one ends when the child does, with its status.

    SIGTERM and SIGINT (Ctrl-C) are passed on. A child that has not ended 1.5 seconds later, or when
    a second one comes, is killed and its temporary files are removed. The status is 128 and the
    signal's number then, as it is of a child that a signal ended.

    To be called before there is any thread.
    """
    parent, stops = os.getpid(), _stops()
    heard = {*stops, signal.SIGCHLD, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    child = os.fork()
    if child:
        os._exit(_wait(child, stops, heard))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    end_with(parent)
    tempfile.template = _temporary(os.getpid())


@contextmanager
def leave_at_once() -> Iterator[None]:
    """End a child that was told to stop, without what libraries tidy up when Python ends.

    That may take longer than there is.
    """
    try:
        yield
    except SystemExit as end:
        if isinstance(end.code, int) and end.code - 128 in _STOPS:
            with suppress(OSError):
                sys.stdout.flush()
            os._exit(end.code)
        raise


def _stops() -> list[signal.Signals]:
    """Return the signals that end a command; a shell has background jobs ignore SIGINT."""
    return [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]


def _wait(child: int, stops: list[signal.Signals], heard: set[signal.Signals]) -> int:
    """Return the status to end with."""
    signal.signal(signal.SIGCHLD, lambda *_: None)  # one that is ignored need not be waited for
    asked = killed = 0
    while True:
        number = signal.sigwait(heard)
        if number == signal.SIGCHLD:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return _status(os.waitstatus_to_exitcode(status), asked, killed, child)
        elif asked or number not in stops:
            killed = signal.SIGKILL
            os.kill(child, killed)
        else:
            asked = number
            os.kill(child, number)
            signal.setitimer(signal.ITIMER_REAL, _GRACE)


def _status(status: int, asked: int, killed: int, child: int) -> int:
    """Return the status to end with, and say what a child that a signal ended could not say."""
    if status < 0 or asked:
        _remove_temporaries(child)
    if status < 0:
        if asked:
            click.echo(STOPPED, err=True)
        else:
            click.echo(f"error: {_crash(-status)}", err=True)
    if asked and (status or killed):
        return 128 + asked
    return 128 - status if status < 0 else status


def _crash(number: int) -> str:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return f"the process was killed ({name}), most likely by the system for lack of memory"
    return f"native code ended the process ({name}); a bundle, a picture or a library is damaged"


def _temporary(child: int) -> str:
    return f"cbpnet-{child}-"


def _remove_temporaries(child: int) -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_temporary(child)}*"):
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
