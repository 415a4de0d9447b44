"""Asked to stop (Ctrl-C, SIGTERM of a scheduler, a time limit): finish the step, save, and say that it can go on."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

INSIST = 2.0  # s after which a signal that has not ended the work is raised again
LIFELINE = "CGSURROGATE_LIFELINE"  # in the environment: the end of a pipe for ``end_with``
POLL = 0.3  # s between two looks whether a task should stop
_at_work: dict[int, bool] = {}  # threads that work on a task, and whether they were asked to stop


class Stopped(Exception):
    """Work ended early but was saved; the same command continues it. ``signal`` is None for a time limit."""

    def __init__(self, message: str, signal_number: int | None = None):
        super().__init__(message)
        self.signal = signal_number


class Terminated(BaseException):
    """SIGTERM came while nothing was at work that can save itself."""


def terminate(_number: int, _frame: object) -> None:
    """A handler of SIGTERM.

    Raises:
        Terminated: always.
    """
    raise Terminated


@dataclasses.dataclass
class Raised:
    """The last signal that was raised in a block of ``raising``; None where none came."""

    signal: int | None = None


@contextlib.contextmanager
def raising() -> Iterator[Raised]:
    """Within the block, SIGTERM raises ``Terminated`` and SIGINT ``KeyboardInterrupt``, wherever the program is.

    A library may catch that, or lose it where nothing can be raised, or raise something else while it clears up. So it
    is raised again after ``INSIST`` seconds, until the block ends, and what is lost of other errors is not printed.
    Signals that were ignored before stay so.
    """
    raised = Raised()

    def interrupt(number: int, _frame: object) -> None:
        raised.signal = number
        sys.unraisablehook = lambda _: None
        signal.setitimer(signal.ITIMER_REAL, INSIST)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    handlers = {signal.SIGTERM: interrupt, signal.SIGINT: interrupt}
    handlers[signal.SIGALRM] = lambda *_: signal.raise_signal(raised.signal or signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield raised
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, earlier in before.items():
            signal.signal(number, earlier)


class Watch:
    """Knows whether work should end: a signal came, or the time is up."""

    def __init__(self, hours: float | None = None):
        self.signal: int | None = None
        self.requested_elsewhere = False  # another process that works on the same was asked to stop
        self.deadline = None if hours is None else time.monotonic() + hours * 3600
        self.thread = threading.get_ident()

    @property
    def requested(self) -> bool:
        if _at_work.get(self.thread) and self.signal is None:
            self.signal = signal.SIGTERM  # no handler of a signal runs in this thread
        if self.requested_elsewhere:
            return True
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def reason(self, what: str) -> Stopped:
        other = "a signal to another process" if self.requested_elsewhere else "the time limit"
        why = signal.Signals(self.signal).name if self.signal is not None else other
        return Stopped(f"stopped by {why}; {what} is saved, the same command continues it", self.signal)

    def install(self) -> dict[int, object]:
        """Note signals from now on (again, where a library took them over); returns the handlers before."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, number: int, _frame: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextlib.contextmanager
def watching(hours: float | None = None) -> Iterator[Watch]:
    """Within the block, SIGINT and SIGTERM are noted instead of raised (main thread only); a second SIGINT raises.

    A signal that came too late for the block, which then ended as if there was none, goes to the handler before.
    """
    watch = Watch(hours)
    before = watch.install()
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
    if watch.signal is not None and callable(before.get(watch.signal)):
        signal.raise_signal(watch.signal)


# -- tasks, which may run in any thread --------------------------------------------------------------------------------


def at_work() -> bool:
    """Whether a thread of this process works on a task."""
    return bool(_at_work)


def ask_all() -> None:
    """Ask the tasks of this process that run outside of its main thread to save and stop."""
    for thread in list(_at_work):
        if thread != threading.main_thread().ident:
            _at_work[thread] = True


@contextlib.contextmanager
def stoppable(asked: Callable[[], bool]) -> Iterator[None]:
    """Within the block, a task of this thread stops when ``asked`` says so, which is looked at every ``POLL`` seconds.

    In the main thread it is as if SIGTERM had come, which raises ``Terminated`` where nothing notes it. Python runs no
    handler of a signal in another thread: there a ``Watch`` knows of it, also one of a later block.

    Raises:
        Stopped: ``Terminated`` came.
    """
    thread, over = threading.get_ident(), threading.Event()
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if main else None
    _at_work[thread] = False
    threading.Thread(target=_look, args=(asked, thread, main, over), daemon=True).start()
    try:
        yield
    except Terminated:
        raise Stopped("stopped by SIGTERM; what was saved is kept", signal.SIGTERM) from None
    finally:
        over.set()
        if main:
            with contextlib.suppress(Terminated):  # a signal that came just before
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        _at_work.pop(thread, None)


def _look(asked: Callable[[], bool], thread: int, main: bool, over: threading.Event) -> None:
    wait = POLL
    while not over.wait(wait):
        if not asked():
            continue
        if main:
            os.kill(os.getpid(), signal.SIGTERM)
            wait = INSIST  # a library may have lost the one before
        else:
            _at_work[thread] = True
            return


def end_with(lifeline: int) -> None:
    """From now on, SIGTERM comes to this process when the other end of a pipe is closed, or its process is no more."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
