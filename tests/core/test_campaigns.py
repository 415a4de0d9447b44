"""Tasks are done once, whoever runs them and whatever is killed; one that fails lets the others save, and says why."""

import contextlib
import functools
import importlib.util
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tasks import deadly, deaf, hasty, patient, stopped_once, written

from cgsurrogate.core import campaigns, interrupts, registry
from cgsurrogate.core.campaigns import Share, executors, run_tasks
from cgsurrogate.core.interrupts import Stopped, Watch, watching
from cgsurrogate.core.task_board import DONE, FAILED, RUNNING, STOPPED, WAITING, Board, Diary, Note, summary


def silent(name, told):
    """Hears nothing."""


def board(folder, tasks):
    made = Board(folder)
    made.plan(dict.fromkeys(tasks, "a task"))
    return made


@pytest.mark.parametrize(
    "end, kind, words",
    [
        (ZeroDivisionError("a fault"), ZeroDivisionError, "a fault"),
        (None, Stopped, "stopped by the time limit; all of it is saved"),
    ],
)
def test_one_that_ends_lets_the_others_save(tmp_path, end, kind, words):
    watch = Watch()
    tasks = {"patient": functools.partial(patient, tmp_path)}
    if end is not None:
        tasks["hasty"] = functools.partial(hasty, tmp_path, end)

    def hear(name, told):
        assert (name, told.label) == ("patient", "works")
        if end is None:
            watch.deadline = 0.0

    with pytest.raises(kind, match=words):
        run_tasks(tasks, board(tmp_path, tasks), hear, watch, "all of it", executors("local:workers=2"))
    assert (tmp_path / "saved").exists()
    assert not multiprocessing.active_children()
    if end is not None:
        assert Board(tmp_path).note("hasty").why == "a fault"
    assert Board(tmp_path).note("patient").state == STOPPED


def test_asked_to_stop_too_late_for_a_block_it_does_no_more(tmp_path):
    watch = Watch()

    def hear(*_):
        watch.deadline = 0.0

    with pytest.raises(Stopped, match="all of it is saved"):
        run_tasks({"deaf": functools.partial(deaf, tmp_path)}, board(tmp_path, ["deaf"]), hear, watch, "all of it")
    assert not (tmp_path / "more").exists()
    assert not multiprocessing.active_children()


def test_a_killed_worker_ends_no_campaign(tmp_path, monkeypatch):
    """One dies once, one always; the others are done, also those whose neighbour died."""
    monkeypatch.setattr(campaigns, "TRIES", 2)
    tasks = {
        "once": functools.partial(deadly, tmp_path, "once", 1)
    }  # first, so that others wait in the pool that breaks
    tasks["always"] = functools.partial(deadly, tmp_path, "always", 99)
    tasks |= {f"task {k}": functools.partial(deadly, tmp_path, f"{k}", 0) for k in range(4)}
    notes = board(tmp_path, tasks)
    with pytest.raises(RuntimeError, match="1 of 6 tasks failed, always: always was killed 2 times"):
        run_tasks(tasks, notes, silent, Watch(), "it", executors("local:workers=2"), alone=True)
    assert [(tmp_path / f"{k}").read_text() for k in range(4)] == list("0123")
    assert len(list(tmp_path.glob("once.try*"))) == 2
    found = summary(notes)
    assert found["counts"] == {DONE: 5, FAILED: 1, RUNNING: 0, STOPPED: 0, WAITING: 0}
    assert not multiprocessing.active_children()
    assert not list((tmp_path / "tasks").glob(".stop*"))


@pytest.mark.parametrize("kind", registry.kinds("executors"))
def test_every_executor_does_each_task_once_and_passes_on_what_it_says(tmp_path, kind):
    if kind == "dask" and importlib.util.find_spec("distributed") is None:
        pytest.skip("dask.distributed is not installed")
    tasks = {f"task {k}": functools.partial(written, tmp_path, f"{k}") for k in range(5)}
    heard = {}
    run_tasks(tasks, board(tmp_path, tasks), heard.__setitem__, Watch(), "it", executors(f"{kind}:workers=2"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == list("01234")
    assert heard.keys() == tasks.keys() and all(told.fraction == 1.0 for told in heard.values())


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_of_dask_that_ends_is_replaced(tmp_path, sent):
    """Killed, or asked to stop, when its task saves, though that is not in its main thread."""
    pytest.importorskip("distributed")
    tasks = {"twice": functools.partial(stopped_once, tmp_path, sent)}
    run_tasks(tasks, board(tmp_path, tasks), silent, Watch(), "it", executors("dask:workers=1"))
    assert (tmp_path / "done").exists()
    assert (tmp_path / "saved").exists() == (sent == signal.SIGTERM)


def test_an_executor_of_the_users_in_threads_stops_its_tasks(tmp_path):
    """Python runs no handler of a signal there; they save all the same."""
    watch = Watch()

    def hear(*_):
        watch.signal = signal.SIGTERM

    tasks = {"patient": functools.partial(patient, tmp_path)}
    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        run_tasks(tasks, board(tmp_path, tasks), hear, watch, "it", ThreadPoolExecutor)
    assert (tmp_path / "saved").exists()


def test_what_cannot_be_pickled_is_refused(tmp_path):
    tasks = {"local": lambda tell: None}
    with pytest.raises(ValueError, match="local cannot be handed to another process"):
        run_tasks(tasks, board(tmp_path, tasks), silent, Watch(), "it")


def test_a_signal_reaches_the_task_of_another_thread():
    seen = []

    def work():
        with interrupts.stoppable(lambda: False), watching() as watch:
            while not watch.requested:
                time.sleep(0.01)
            seen.append(watch.signal)

    thread = threading.Thread(target=work)
    thread.start()
    while not interrupts.at_work():
        time.sleep(0.01)
    interrupts.ask_all()
    thread.join(10)
    assert seen == [signal.SIGTERM] and not interrupts.at_work()
    with watching() as watch:
        assert not watch.requested


def test_a_lifeline_that_is_cut_asks_to_stop():
    read, write = os.pipe()
    with watching() as watch, contextlib.suppress(interrupts.Terminated):
        interrupts.end_with(read)
        os.close(write)
        until = time.monotonic() + 10
        while not watch.requested and time.monotonic() < until:
            time.sleep(0.01)
        raise interrupts.Terminated  # so that the signal is not handed on
    assert watch.signal == signal.SIGTERM
    os.close(read)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/", "-1/3"])
def test_a_part_is_one_of_several(text):
    with pytest.raises(ValueError, match="a part k/K"):
        Share.parse(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_the_parts_of_an_array_are_all_tasks_once(count):
    tasks = list(range(13))
    parts = [Share(k + 1, count).of(tasks) for k in range(count)]
    assert sorted(task for part in parts for task in part) == tasks
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_board_knows_who_works_and_refuses_another_task(tmp_path):
    notes = board(tmp_path, ["one", "models/two", "three"])
    with notes.held("one"):
        diary = Diary(notes, "one")
        diary.tell("learns", 0.25, "loss 3", 7.0)
        diary.note.heard = diary.note.began + 10.0
        notes.write("one", diary.note)
        assert notes.note("one").state == RUNNING
        notes.write("models/two", Note(DONE))
        found = summary(notes)
        assert found["counts"][RUNNING] == found["counts"][DONE] == found["counts"][WAITING] == 1
        assert found["pace"] == 7.0
    assert notes.note("one").state == STOPPED and notes.note("one").why == "killed"
    with pytest.raises(ValueError, match="begun with another task one"):
        notes.plan({"one": "something else"})
    notes.plan({"one": "a task", "four": "a task"})
    assert list(notes.planned()) == ["one", "four"]
    with pytest.raises(ValueError, match="expected a folder with a campaign"):
        Board(tmp_path / "elsewhere").planned()


def test_the_time_that_is_left_counts_this_attempt_alone(tmp_path):
    """It began at a half, a quarter took 10 s, so the last quarter takes 10 s, and the task that waits 40 s alone."""
    notes = board(tmp_path, ["one", "two"])
    with notes.held("one"):
        diary = Diary(notes, "one")
        diary.tell("learns", 0.5)
        diary.tell("learns", 0.75)
        diary.note.heard = diary.note.since + 10.0
        notes.write("one", diary.note)
        assert summary(notes)["left"] == pytest.approx(50.0)
