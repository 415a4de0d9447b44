"""From settings to frames: what was left out is chosen, whole rounds lie between frames, and refusals are one line."""

from __future__ import annotations

import pytest
import torch
from known_molecule import BEADS, KELVIN, Part, exact, known
from walks import asked

from cgsurrogate import workflows
from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Stepper, divisor_near
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.monte_carlo.sampler import sentences

RUNGS = (KELVIN, 400.0, 500.0)
SHORT = Beads(("X",) * 3, (0,) * 3, (12.0,) * 3, (0,) * 3, ("UNK",) * 3, ((0, 1), (1, 2)))


class Jump(Stepper):
    """A stepper in name only."""

    lag, memory, lags = 1.0, 0, (1.0, 1.0)
    start = step = calibrate = encode = remember = log_density = loss = None


def starts(beads: Beads = BEADS) -> Frames:
    return Frames(beads, exact(300).float().numpy()[:, : len(beads)], (150, 150), 1.0, KELVIN)


def simulated(folder, beads: Beads = BEADS, module: torch.nn.Module | None = None, **changes) -> Frames:
    usual = {"time": 0.2, "replicas": 6, "integrator": "baoab:timestep=0.002,friction=20"}
    model = Model(known() if module is None else module, beads, KELVIN, {})
    return workflows.make_simulation(model, starts(beads), folder, asked(**(usual | changes))[0])


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"pivot": "4"}, {"pivot": 5}),
        ({"pivot": "4:10", "every": 0.04}, {"pivot": 10}),
        ({"pivot": "0"}, {}),
        ({"independence": starts()}, {"independence": 5}),
        ({"independence": starts(), "pivot": "1:5", "every": 0.04}, {"pivot": 5, "independence": 5}),
        ({"independence": starts(), "pivot": "1:1", "every": 0.04}, {"pivot": 1, "independence": 5}),
        ({"independence": starts(), "pivot": "1:10", "every": 0.04}, {"pivot": 10, "independence": 10}),
        ({"pivot": "4", "every": 0.04, "temperatures": RUNGS}, {"pivot": 5}),
    ],
)
def test_whole_rounds_of_moves_lie_between_frames(tmp_path, changes, steps):
    frames = simulated(tmp_path, **changes)
    known = frames.provenance
    assert {name: about["steps"] for name, about in known.monte_carlo.items()} == steps
    assert all(about["acceptance"] > 0 for about in known.monte_carlo.values())
    assert not known.physical_time and frames.time_ordered == (not steps)
    assert frames.dt == pytest.approx(changes.get("every", 0.01 if steps else 0.002))
    assert all("no physical time" in line for line in sentences(known.monte_carlo))
    if "temperatures" in changes:
        assert frames.out_of_order == "frames of exchanging replicas"
    elif steps:
        assert frames.out_of_order == f"frames of Monte Carlo {' and '.join(steps)} moves"


def test_replicas_fill_ladders_and_exchanges_fit_between_frames(tmp_path):
    settings = {"time": 0.1, "every": 0.02, "temperatures": RUNGS}
    frames = simulated(tmp_path / "a", replicas=None, **settings)
    assert len(frames.lengths) == 34  # 102 replicas, the next above 100
    assert frames.temperature == KELVIN
    assert frames.provenance.exchange["exchanges"] == 5  # every ten steps, so often as a frame
    assert simulated(tmp_path / "b", exchange=0.01, **settings).provenance.exchange["exchanges"] == 10
    assert simulated(tmp_path / "c", temperature=KELVIN, **settings).temperature == KELVIN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pivot": "4:0"}, "expected --pivot N or N:STEPS"),
        ({"pivot": "4:5:6"}, "expected --pivot N or N:STEPS"),
        ({"pivot": "many"}, "got 'many'"),
        ({"pivot": "4:7", "every": 0.02}, "the nearest is 0.014 ps"),
        ({"pivot": "4", "beads": SHORT, "module": Sum(Part(0))}, "these 3 beads have none; simulate without --pivot"),
        ({"independence": starts(SHORT)}, "the frames of --independence hold other beads"),
        ({"pivot": "4", "module": Jump(), "integrator": None}, "leave out --pivot"),
        ({"independence": starts(), "module": Jump(), "integrator": None}, "leave out --independence"),
        ({"temperatures": RUNGS, "module": Jump(), "integrator": None}, "leave out --tempering"),
        ({"temperatures": RUNGS, "replicas": 4}, "4 replicas do not fill"),
        ({"temperatures": RUNGS, "temperature": 320.0}, "lowest temperature of the ladder is 300 K, not 320"),
        ({"temperatures": RUNGS, "every": 0.02, "exchange": 0.003}, "nearest is 0.004 ps"),
        ({"temperatures": RUNGS, "every": 0.02, "exchange": 0.014}, "whole number of 0.014 ps"),
        ({"temperatures": RUNGS, "every": 0.02, "exchange": 0.0}, "above 0|whole number"),
        ({"exchange": 0.1}, "--tempering"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_leaves_nothing(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words) as refusal:
        simulated(tmp_path / "new", **changes)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "new").exists()


def test_usual_periods_divide_the_steps_between_frames():
    assert [divisor_near(n, 5) for n in (1, 5, 7, 8, 100)] == [1, 5, 7, 4, 5]
    assert [divisor_near(n, 25) for n in (1, 10, 50, 250, 62, 1000, 23)] == [1, 10, 25, 25, 31, 25, 23]
