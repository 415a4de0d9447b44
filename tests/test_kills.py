"""Commands that are killed or asked to stop at any instant: the same command again ends as if nothing had happened.

``benchmarks/kill_harness.py`` does so many times; here each stage gets a few stops.
"""

import signal
from concurrent.futures import ThreadPoolExecutor

import kills
import pytest

QUICK = ("map",)
PHASES = (  # of a run: what is there when the next one begins
    "run.json",
    "training/frames.json",
    "reference/frames.json",
    "stepper/model.json",
    "stepper-rollout/frames.json",
    "force-field-simulation/frames.json",
    "comparison/surfaces.npz",
    "metrics.json",
    "figures/distances.png",
)


@pytest.fixture(scope="module")
def shell():
    with kills.Shell() as made:
        yield made


@pytest.fixture(scope="module")
def other():
    with kills.Shell() as made:
        yield made


@pytest.fixture(scope="module")
def place(shell, tmp_path_factory):
    return tmp_path_factory.mktemp("kills")


def compared(stage, number, shell, place):
    """A stage with some kills, a SIGTERM and a SIGINT beside one without any."""
    kills.prepare(shell, place, [stage])
    words, disturbed = kills.STAGES[stage], place / f"{stage}-{number}-disturbed"
    usual, whole = kills.undisturbed(shell, words, place / f"{stage}-{number}")
    gentle = [kills.Stop(one, after=0.4 * usual.seconds) for one in (signal.SIGTERM, signal.SIGINT)]
    kills.disturbed(shell, words, disturbed, [gentle[0], *kills.stops(usual, number, seed=1), gentle[1]])
    assert kills.content(disturbed / "out") == whole


@pytest.mark.parametrize("stage", QUICK)
def test_the_end_after_a_kill_is_that_of_an_undisturbed_command(stage, shell, place):
    compared(stage, 1, shell, place)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage for stage in kills.STAGES if stage != kills.RUN])
def test_the_end_after_kills_is_that_of_an_undisturbed_command(stage, shell, place):
    compared(stage, 5, shell, place)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["map", "baoab", "processes", "compare", "report", "export"])
def test_of_two_commands_at_once_one_wins_and_the_other_says_so(stage, shell, other, place):
    kills.prepare(shell, place, [stage])
    words = kills.STAGES[stage]
    _, whole = kills.undisturbed(shell, words, place / f"{stage}-alone")
    for number in range(5):  # until they have met
        folder = place / f"{stage}-both-{number}"
        folder.mkdir()
        with ThreadPoolExecutor() as pool:
            ends = list(pool.map(lambda one: one.run(words, folder), (shell, other)))  # noqa: B023
        lost = [end for end in ends if end.code]
        assert len(lost) < 2 and kills.content(folder / "out") == whole
        if lost:
            lines = [line for line in lost[0].said.splitlines() if line.startswith("Error")]
            assert lost[0].code == 1 and len(lines) == 1 and "another process is writing to" in lines[0]
            return
    raise AssertionError("they have never met")


@pytest.mark.slow
def test_a_run_goes_on_and_leaves_no_process(shell, place):
    """Killed at any instant, and asked to stop between any two phases."""
    kills.prepare(shell, place, [kills.RUN])
    plan = [kills.Stop(after=0.5), kills.Stop(change=1), kills.Stop(after=6.0), kills.Stop(change=12)]
    plan += [kills.Stop((signal.SIGTERM, signal.SIGINT)[k % 2], made=made) for k, made in enumerate(PHASES)]
    plan.insert(-2, kills.Stop(change=3))
    count, _ = kills.disturbed(shell, kills.STAGES[kills.RUN], place / "run", plan)
    assert count > 5
    assert (place / "run" / "out" / "report.html").exists()


def test_what_is_not_done_is_not_taken_for_done(shell, place):
    """The harness itself: a folder with one byte changed, a row twice, a process left."""
    kills.prepare(shell, place, ["map"])
    kills.undisturbed(shell, kills.STAGES["map"], place / "one")
    out = place / "one" / "out"
    whole = kills.content(out)
    (out / "positions.npy").write_bytes((out / "positions.npy").read_bytes()[:-1] + b"\0")
    assert kills.content(out) != whole
    (out / "metrics.csv").write_text("step,seconds,train\n1,0.1,2.0\n1,0.2,2.0\n")
    with pytest.raises(AssertionError, match="repeats rows"):
        kills.refuse_repeated(out)
