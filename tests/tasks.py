"""Tasks for processes: in a file of their own, where a process that is spawned finds them."""

import os
import signal
import threading
import time

from cgsurrogate.core.filesystem import locked
from cgsurrogate.core.interrupts import watching


def patient(folder, tell):
    """Works until it is asked to stop, and saves."""
    with watching() as watch, locked(folder):
        while not watch.requested:
            tell("works", None)
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
        tell("works", None)
        while not watch.requested:
            time.sleep(0.05)
    (folder / "more").touch()


def deadly(folder, name, times, tell):
    """Kills its process so many times, then writes what it should."""
    count = len(list(folder.glob(f"{name}.try*")))
    (folder / f"{name}.try{count}").touch()
    tell("writes", 0.5, "", 3.0)
    if count < times:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / name).write_text(name)


def written(folder, name, tell):
    """Writes its name, and in which thread it runs; once only."""
    with open(folder / name, "x") as handle:
        handle.write(name)
    tell("writes", 1.0, str(threading.current_thread() is threading.main_thread()))


def stopped_once(folder, number, tell):
    """Has its process sent a signal at the first time, and then saves; at the second it is done."""
    if not (folder / "tried").exists():
        (folder / "tried").touch()
        with watching() as watch:
            os.kill(os.getpid(), number)
            until = time.monotonic() + 20
            while not watch.requested and time.monotonic() < until:
                time.sleep(0.05)
            (folder / "saved").touch()
            raise watch.reason("it")
    (folder / "done").touch()
