"""Asked to stop (Ctrl-C, SIGTERM of a scheduler, a time limit): finish the step, save, and say that it can go on."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import threading
import time
from collections.abc import Iterator

INSIST = 2.0  # s after which a signal that has not ended the work is raised again


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
        self.deadline = None if hours is None else time.monotonic() + hours * 3600

    @property
    def requested(self) -> bool:
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def reason(self, what: str) -> Stopped:
        why = signal.Signals(self.signal).name if self.signal is not None else "the time limit"
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
