"""A signal ends the work that it meets, whatever it meets."""

import contextlib
import signal
import time

import pytest

from cgsurrogate.core import interrupts
from cgsurrogate.core.interrupts import Terminated, raising, watching


@contextlib.contextmanager
def heard(*numbers):
    """Signals that come to whoever listens outside of a block."""
    came = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_came_too_late_for_a_block_is_handed_on(number):
    with heard(signal.SIGTERM, signal.SIGINT) as came:
        with watching() as watch:
            signal.raise_signal(number)
            assert watch.requested and not came
        assert came == [number]


def test_a_signal_that_the_block_has_answered_is_not_handed_on():
    with heard(signal.SIGTERM) as came:
        with pytest.raises(ZeroDivisionError), watching():
            signal.raise_signal(signal.SIGTERM)
            raise ZeroDivisionError
        with watching():
            pass
    assert not came


def test_of_blocks_in_one_another_each_notes_it():
    with heard(signal.SIGINT) as came:
        with watching() as outer:
            with watching() as inner:
                signal.raise_signal(signal.SIGINT)
            assert inner.requested and outer.requested and not came
        assert came == [signal.SIGINT]


@pytest.mark.parametrize("number, kind", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_that_something_catches_is_raised_again(number, kind, monkeypatch):
    monkeypatch.setattr(interrupts, "INSIST", 0.05)
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)]
    with pytest.raises(kind), raising() as raised:
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        time.sleep(10)
    assert raised.signal == number
    assert handlers == [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)]
    time.sleep(0.1)  # and not once more


def test_what_saves_itself_notes_a_signal_that_was_caught_before(monkeypatch):
    monkeypatch.setattr(interrupts, "INSIST", 0.05)
    with pytest.raises(ZeroDivisionError), raising():
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        with watching() as watch:
            while not watch.requested:
                time.sleep(0.01)
            raise ZeroDivisionError
