"""Tasks for processes: in a file of their own, where a process that is spawned finds them."""

import os
import time

from cgsurrogate.core.filesystem import locked
from cgsurrogate.core.interrupts import watching


def patient(folder, tell):
    """Works until it is asked to stop, and saves."""
    with watching() as watch, locked(folder):
        while not watch.requested:
            tell("works")
            time.sleep(0.05)
        (folder / "saved").touch()
        raise watch.reason("it")


def hasty(folder, end, tell):
    """Ends, one way or the other, once the other works."""
    while not (folder / ".lock").exists():
        time.sleep(0.05)
    if isinstance(end, int):
        os.kill(os.getpid(), end)
    raise end


def deaf(folder, tell):
    """Is asked to stop too late for its block, and has more to do."""
    with watching() as watch:
        tell("works")
        while not watch.requested:
            time.sleep(0.05)
    (folder / "more").touch()
