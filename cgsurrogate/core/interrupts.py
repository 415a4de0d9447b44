"""Asked to stop (Ctrl-C, SIGTERM of a scheduler, a time limit): finish the step, save, and say that it can go on."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator


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
