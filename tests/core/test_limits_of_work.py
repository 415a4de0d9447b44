"""Numbers that cannot be meant are refused at once, wherever they are given."""

import math
import zipfile

import pytest
from known_molecule import BEADS, KELVIN, exact, known

from cgsurrogate import workflows
from cgsurrogate.core import limits, registry, temperatures, units
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.formats import arrays
from cgsurrogate.data.read import Input
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.settings import RunOptions, SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows.samplers import make_propagator, parse_pivot
from cgsurrogate.workflows.settings import StudySettings
from cgsurrogate.workflows.simulate import refuse_replicas

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


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda: SamplerSettings(exchange=math.nan), "time between exchanges"),
        (lambda: SamplerSettings(lag=math.inf), "the lag"),
        (lambda: RunOptions("out", max_hours=math.inf), "max_hours"),
        (lambda: temperatures.parse("300:400:100000000", 300.0), "number of temperatures"),
        (lambda: temperatures.parse("300:1e300:4", 300.0), "highest temperature"),
        (lambda: temperatures.parse("300:nan:4", 300.0), "highest temperature"),
        (lambda: parse_pivot("99999999999:1"), "at most 1,000,000"),
        (lambda: Input("t.pdb", ["a.xtc"], 300.0, dt=math.nan), "time between frames"),
        (lambda: Input("t.pdb", ["a.xtc"], 300.0, dt=1e300), "time between frames"),
        (lambda: Input("t.pdb", ["a.xtc"], 300.0, begin=math.nan), "expected begin"),
        (lambda: registry.check("networks", "residues:width=1.5"), "width must be a whole number"),
        (lambda: registry.check("networks", "residues:width=10000000"), "width must be finite"),
        (lambda: refuse_replicas(10**9, BEADS), "of memory"),
    ],
)
def test_other_numbers_that_cannot_be_meant(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_a_time_step_has_a_length():
    with pytest.raises(ValueError, match="a time step must be at least"):
        make_propagator(Model(known(), BEADS, KELVIN), SamplerSettings(integrator="baoab:timestep=1e-300"))


def test_an_array_that_expands_as_no_coordinates_do_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as held, held.open("x.npy", "w") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"bomb\.npz: x.*unpacks to more than 100 times"):
        arrays.load(tmp_path / "bomb.npz")
