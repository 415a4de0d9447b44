"""One task that ends early lets the others save, and says why in this process."""

import functools
import multiprocessing
import signal

import pytest
from tasks import deaf, hasty, patient

from cgsurrogate.core.interrupts import Stopped, Watch
from cgsurrogate.core.worker_processes import run_tasks


@pytest.mark.parametrize(
    "end, kind, words",
    [
        (ZeroDivisionError("a fault"), ZeroDivisionError, "a fault"),
        (signal.SIGKILL, RuntimeError, "all of it was killed.* the same command continues it"),
        (None, Stopped, "stopped by the time limit; all of it is saved"),
    ],
)
def test_one_that_ends_lets_the_others_save(tmp_path, end, kind, words):
    watch = Watch()
    tasks = {"patient": functools.partial(patient, tmp_path)}
    if end is not None:
        tasks["hasty"] = functools.partial(hasty, tmp_path, end)

    def hear(name, told):
        assert (name, told) == ("patient", "works")
        if end is None:
            watch.deadline = 0.0

    with pytest.raises(kind, match=words):
        run_tasks(tasks, hear, watch, "all of it")
    assert (tmp_path / "saved").exists()
    assert not multiprocessing.active_children()


def test_asked_to_stop_too_late_for_a_block_it_does_no_more(tmp_path):
    watch = Watch()

    def hear(*_):
        watch.deadline = 0.0

    with pytest.raises(Stopped, match="all of it is saved"):
        run_tasks({"deaf": functools.partial(deaf, tmp_path)}, hear, watch, "all of it")
    assert not (tmp_path / "more").exists()
    assert not multiprocessing.active_children()
