"""Numbers that cannot be meant are refused at once, wherever they are given."""

import math

import pytest
from known_molecule import BEADS, KELVIN, exact, known

from cgsurrogate import workflows
from cgsurrogate.core import limits, registry, units
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.settings import SimulationSettings
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows.settings import StudySettings

ABSURD = (math.nan, math.inf, -math.inf, 0, -1, 1e300)


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize(
    "ask",
    [
        lambda value: units.thermal_energy(value),
        lambda value: EnergySettings(minutes=value),
        lambda value: EnergySettings(steps=value),
        lambda value: StepperSettings(lag=value),
        lambda value: StudySettings(minutes=value),
        lambda value: StudySettings(lag=value),
        lambda value: SimulationSettings(time=value),
        lambda value: SimulationSettings(1.0, every=value),
        lambda value: SimulationSettings(1.0, temperature=value),
        lambda value: SimulationSettings(1.0, replicas=value),
    ],
)
def test_what_is_no_number_above_zero_is_refused(ask, value):
    with pytest.raises(ValueError, match=f"above 0 .*got {value}".replace("+", r"\+")):
        ask(value)


@pytest.mark.parametrize("settings", [EnergySettings, StudySettings, lambda seed: SimulationSettings(1.0, seed=seed)])
@pytest.mark.parametrize("value", [-1, limits.MOST_SEED + 1, 10**30])
def test_a_seed_fits_every_generator(settings, value):
    settings(seed=limits.MOST_SEED)
    with pytest.raises(ValueError, match="a seed must be"):
        settings(seed=value)


@pytest.mark.parametrize("value", [10_000_000, math.nan, math.inf])
def test_an_option_of_a_kind_has_a_size_that_can_be_built(value, peptide_frames: Frames):
    with pytest.raises(ValueError, match="width must be finite and at most"):
        registry.build("networks", "residues", peptide_frames.beads, width=value)


def test_a_simulation_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    model, start = Model(known(), BEADS, KELVIN), Frames(BEADS, exact(4).float().numpy(), (4,), 1.0, KELVIN)
    for settings, message in (
        (SimulationSettings(1e3, replicas=500_000_000), "of memory"),
        (SimulationSettings(1e14, 1e2, replicas=100), "are free"),
    ):
        with pytest.raises(ValueError, match=message):
            workflows.make_simulation(model, start, tmp_path / "s", settings)
        assert not (tmp_path / "s").exists()
