"""A force field that is too stiff for the usual time step is simulated with a shorter one."""

import dataclasses
import types

import pytest

from cgsurrogate import workflows
from cgsurrogate.core import filesystem
from cgsurrogate.simulation.run import Unstable
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.workflows.stability import HALVINGS, simulate_stably, step_notes


@pytest.fixture
def simulated(monkeypatch, tmp_path):
    """``go(outcomes)`` simulates with these numbers of lost replicas of ten, in turn; what was asked for each time."""
    asked = []

    def go(*lost):
        left = list(lost)

        def make(model, start, out, settings, report):
            asked.append(settings)
            out.mkdir()  # fails where an earlier try was not removed
            gone = left.pop(0)
            if gone == 10:
                raise Unstable("all 10 replicas left the physical range")
            return types.SimpleNamespace(lengths=(1,) * 10, provenance=types.SimpleNamespace(quarantined=(0,) * gone))

        monkeypatch.setattr(workflows, "make_simulation", make)
        record = tmp_path / "length.json"
        filesystem.write_json(record, {"time": 8.0})
        settings = SimulationSettings(8.0, 0.08, replicas=10, sampler=SamplerSettings(pivot="10:5"))
        return simulate_stably(None, None, tmp_path / "out", settings, record), record

    return go, asked


def test_the_usual_time_step_is_kept_where_few_replicas_are_lost(simulated):
    go, asked = simulated
    assert go(1)[0] == () and len(asked) == 1 and asked[0].sampler.integrator is None


def test_the_time_step_is_halved_until_the_replicas_stay_and_that_is_said(simulated):
    go, asked = simulated
    notes, record = go(10, 5, 0)
    assert [s.sampler.integrator for s in asked] == [None, "baoab:timestep=0.002", "baoab:timestep=0.001"]
    assert [(s.time, s.every) for s in asked] == [(8.0, 0.08), (4.0, 0.04), (2.0, 0.02)]  # as many steps
    assert dataclasses.asdict(asked[2].sampler)["pivot"] == "10:5"
    assert "time step of 2 fs" in notes[0] and "with 1 fs" in notes[0]
    assert step_notes(record) == notes and filesystem.read_json(record) == {"time": 8.0, "halvings": 2}


def test_what_cannot_be_simulated_at_all_is_an_error(simulated):
    go, asked = simulated
    with pytest.raises(Unstable):
        go(*[10] * (HALVINGS + 1))
    assert len(asked) == HALVINGS + 1
