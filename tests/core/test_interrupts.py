"""A signal ends the work that it meets, whatever it meets."""

import contextlib
import signal

import pytest

from cgsurrogate.core.interrupts import watching


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
