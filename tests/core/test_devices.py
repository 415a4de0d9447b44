"""Every device gives the numbers of the processor, and nothing is left behind on it.

No accelerator need be there: fake tensors on the meta device refuse, as a GPU does, to be combined with those of the
processor. What depends on numbers is tried on the devices that this machine has.
"""

from __future__ import annotations

import copy
import dataclasses

import energy_contract as contract
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cgsurrogate.core import devices, registry
from cgsurrogate.core.energy import Sum, forces
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import simulate
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.batches import WeightedFrames
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives._base import BatchObjective, OnDevice
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.workflows.samplers import make_propagator

META = torch.device("meta")
HERE = [name for name, there in (("cpu", True), ("cuda", torch.cuda.is_available())) if there]
ENERGIES = [(family, kind) for family in ("networks", "priors") for kind in registry.kinds(family)]


def energy_of(family: str, kind: str):
    torch.manual_seed(0)
    frames = contract.frames(50)
    energy = registry.build(family, kind, frames.beads)
    if family == "priors":
        energy.fit(frames)
    return energy.requires_grad_(False)


@pytest.fixture
def fake():
    """Tensors without numbers, which know where they are."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def test_fake_tensors_refuse_to_be_mixed(fake):
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device=META) + torch.ones(3)


@pytest.mark.parametrize("family, kind", ENERGIES)
def test_energies_and_forces_follow_the_device(family, kind):
    energy = energy_of(family, kind).to(META)
    with FakeTensorMode(allow_non_fake_inputs=True):
        value, force = forces(energy, torch.zeros(3, 12, 3, device=META))
        assert value.device == force.device == META and force.shape == (3, 12, 3)


@pytest.mark.parametrize("kind", registry.kinds("integrators"))
def test_integrators_follow_the_device(kind):
    energy = Sum(energy_of("priors", "bonds"), energy_of("priors", "dihedrals"))
    model = Model(energy.to(META), contract.peptide(), 300.0)
    moves = make_propagator(model, SamplerSettings(integrator=kind))
    with FakeTensorMode(allow_non_fake_inputs=True):
        state = moves.step(moves.start(torch.zeros(3, 12, 3, device=META), None), None)
        assert state.positions.device == state.velocities.device == META


@pytest.mark.parametrize("kind", registry.kinds("networks"))
def test_training_objectives_follow_the_device(kind):
    from cgsurrogate.geometry.torsion_moves import TorsionMoves
    from cgsurrogate.training.objectives.denoising import Denoising
    from cgsurrogate.training.objectives.force_matching import ForceMatching
    from cgsurrogate.training.objectives.noise_contrast import NoiseContrast, WithLogPartition

    frames = contract.frames(50)
    x = torch.from_numpy(frames.positions)
    rest, module = energy_of("priors", "repulsion"), WithLogPartition(Sum(energy_of("networks", kind)))
    losses = {
        "contrast": NoiseContrast(TorsionMoves(frames.beads), rest, frames, torch.Generator().manual_seed(0), pool=40),
        "forces": ForceMatching(TorsionMoves(frames.beads), x, torch.ones_like(x)),
        "denoising": Denoising(TorsionMoves(frames.beads), rest, x, frames.kT),
    }
    module.to(META), rest.to(META), losses["forces"].to(META), losses["denoising"].to(META)
    with FakeTensorMode(allow_non_fake_inputs=True):
        at = torch.zeros(4, 12, 3, device=META)
        rng = torch.Generator().manual_seed(0)
        assert losses["contrast"](module, (at,), rng).device == META
        assert losses["forces"](module.networks, (at, at), rng).device == META
        assert losses["denoising"](module.networks, (at,), rng).device == META


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("family, kind", ENERGIES)
def test_a_device_has_the_numbers_of_the_processor(family, kind, name):
    energy, x = energy_of(family, kind), contract.conformations(5).float()
    true, there = forces(copy.deepcopy(energy).double(), x.double()), devices.chosen(name)
    for found in (forces(energy.to(there), x.to(there)), Forces(energy)(x.to(there))):
        for part, exact in zip(found, true, strict=True):
            assert part.device.type == there.type
            torch.testing.assert_close(part.cpu().double(), exact, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", HERE)
def test_a_model_simulates_where_it_was_loaded(name, tmp_path):
    frames = contract.frames(50)
    stored = Model(Sum(energy_of("priors", "bonds"), energy_of("priors", "angles")), frames.beads, 300.0)
    model = Model.load(stored.save(tmp_path / "model"), name)
    moves = make_propagator(model)
    assert devices.of(moves).type == name
    found = simulate(moves, frames.positions[:4], frames.beads, SimulationSettings(0.4, 0.04, 300.0))
    assert found.positions.shape == (40, 12, 3)
    assert ("device" in found.provenance.simulation) == (name != "cpu")


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("kind", registry.kinds("steppers"))
def test_steppers_have_the_density_of_the_processor(kind, name):
    frames = dataclasses.replace(contract.frames(600, shake=0.02), lengths=(300, 300), dt=2.0)
    stepper = registry.build("steppers", kind, frames.beads, lag=4.0)
    stepper.calibrate(frames)
    x = contract.conformations(6).float()
    lag = torch.full((3,), stepper.lag)
    with torch.no_grad():
        code = stepper.encode(x)
        true = stepper.log_density(code[:3], code[3:], lag, stepper.remember(None, code[:3], lag))
        there = devices.chosen(name)
        stepper.to(there)
        now, later, lag = code[:3].to(there), code[3:].to(there), lag.to(there)
        found = stepper.log_density(now, later, lag, stepper.remember(None, now, lag))
        torch.testing.assert_close(found.cpu(), true, rtol=1e-3, atol=1e-2)
        stepper.step(stepper.start(x.to(there), rng := torch.Generator(there).manual_seed(0)), rng)


@pytest.mark.parametrize("name", HERE)
def test_training_learns_the_same_on_every_device(name):
    """The slope of a line; batches come from the processor through ``OnDevice`` also where they need not."""
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    data = WeightedFrames([x.numpy(), (3 * x).numpy()], torch.full((400,), 1 / 400).numpy(), 32)
    objective = BatchObjective(lambda module, batch, rng: (module(batch[0]) - batch[1]).square().mean(), data, data)
    ends = []
    for one, place in ((objective, "cpu"), (OnDevice(objective, devices.chosen(name)), name)):
        torch.manual_seed(0)
        module = torch.nn.Linear(1, 1).to(devices.chosen(place))
        fit(module, one, TrainingSettings(rate=0.2, steps=120, every=40))
        assert devices.of(module).type == place
        ends.append(float(module.weight.detach().cpu()))
    assert ends[0] == pytest.approx(ends[1], rel=1e-4) and abs(ends[0] - 3) < 0.3


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    from click.testing import CliRunner

    from cgsurrogate.cli import group

    missing = next(name for name in ("cuda", "mps") if name not in (*HERE, "mps" * torch.backends.mps.is_available()))
    with pytest.raises(ValueError, match=f"got {missing}.*use auto or cpu"):
        devices.chosen(missing)
    frames = contract.frames(50)
    frames.save(tmp_path / "frames")
    words = [
        "train",
        "energy",
        str(tmp_path / "frames"),
        "--device",
        missing,
        "--steps",
        "2",
        "-o",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(group, words)
    assert f"got {missing}" in str(result.exception) and not (tmp_path / "out").exists()


def test_random_numbers_for_a_device_follow_from_those_of_the_processor():
    cpu = torch.device("cpu")
    rng = torch.Generator().manual_seed(1)
    assert devices.generator(cpu, rng) is rng
    assert devices.chosen("auto").type in HERE and devices.words(cpu) == "cpu"
    assert devices.of(torch.nn.Module()) == cpu
