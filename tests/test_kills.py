"""Commands that are killed or asked to stop at any instant: the same command again ends as if nothing had happened.

``benchmarks/kill_harness.py`` does so many times; here each stage gets a few stops.
"""

import signal

import kills
import pytest

SLOW = ("pivot", "tempering", "rollout", "processes", "train-energy", "compare", "report")  # some seconds each


@pytest.fixture(scope="module")
def shell():
    with kills.Shell() as made:
        yield made


@pytest.fixture(scope="module")
def place(shell, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    kills.prepare(shell, folder)
    return folder


def stages(*left_out):
    return [
        pytest.param(stage, marks=pytest.mark.slow if stage in SLOW else ())
        for stage in kills.STAGES
        if stage not in left_out
    ]


@pytest.mark.parametrize("stage", stages(kills.RUN))
def test_the_end_after_kills_is_that_of_an_undisturbed_command(stage, shell, place):
    words = kills.STAGES[stage]
    usual, whole = kills.undisturbed(shell, words, place / stage)
    plan = kills.stops(usual, 2, seed=1)
    gentle = [kills.Stop(number, after=0.4 * usual.seconds) for number in (signal.SIGTERM, signal.SIGINT)]
    kills.disturbed(shell, words, place / f"{stage}-disturbed", [*plan, gentle[len(stage) % 2]])
    assert kills.content(place / f"{stage}-disturbed" / "out") == whole


@pytest.mark.slow
def test_a_run_goes_on_and_leaves_no_process(shell, place):
    plan = [kills.Stop(after=6.0), kills.Stop(change=12), kills.Stop(signal.SIGTERM, after=8.0)]
    count, _ = kills.disturbed(shell, kills.STAGES[kills.RUN], place / "run", plan)
    assert count
    assert (place / "run" / "out" / "report.html").exists()


def test_what_is_not_done_is_not_taken_for_done(shell, place):
    """The harness itself: a folder with one byte changed, a row twice, a process left."""
    kills.undisturbed(shell, kills.STAGES["map"], place / "one")
    out = place / "one" / "out"
    whole = kills.content(out)
    (out / "positions.npy").write_bytes((out / "positions.npy").read_bytes()[:-1] + b"\0")
    assert kills.content(out) != whole
    (out / "metrics.csv").write_text("step,seconds,train\n1,0.1,2.0\n1,0.2,2.0\n")
    with pytest.raises(AssertionError, match="repeats rows"):
        kills.refuse_repeated(out)
