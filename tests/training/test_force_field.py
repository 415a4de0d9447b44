"""Training an energy: moves change one coordinate each, each objective finds a known energy, and the whole runs."""

from __future__ import annotations

import dataclasses
import math

import energy_contract as contract
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy, Sum, forces
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.torsion_moves import Moves
from cgsurrogate.training.force_field import Sampled, systematic, train_energy
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives.force_matching import Denoising, ForceMatching
from cgsurrogate.training.objectives.maximum_likelihood import fine_tune

KT = units.thermal_energy(300.0)
KAPPA, CENTRE = 2.5, -1.1  # of the dihedral in the toys: U = -KAPPA kT cos(phi - CENTRE)


class Torsion(Energy):
    """The known energy of the toys."""

    handed = True

    def forward(self, positions: Tensor) -> Tensor:
        return -KAPPA * KT * (contract.dihedral_of(positions) - CENTRE).cos()


def toy(count: int = 4000) -> Frames:
    """A chain of four beads, its dihedral drawn from the known energy."""
    q = torch.from_numpy(np.random.default_rng(0).vonmises(CENTRE, KAPPA, count))
    x = contract.chain("dihedral", q).numpy().astype(np.float32)
    return Frames(contract.chain_beads(4), x, (count // 2, count - count // 2), 1.0, 300.0)


def network(beads: Beads) -> Sum:
    torch.manual_seed(0)
    return Sum(registry.build("networks", "schnet", beads, width=8, layers=1))


def error_of(learned: Energy) -> float:
    """Root mean square over the density of learned minus known energy of the dihedral, kT, up to a constant."""
    grid = torch.linspace(-math.pi, math.pi, 200)
    x = contract.chain("dihedral", grid)
    with torch.no_grad():
        known = Torsion()(x)
        share = (-known / KT).softmax(0)
        away = (learned(x) - known) / KT
        return float((share * (away - share @ away) ** 2).sum().sqrt())


def internal(beads: Beads, x: Tensor) -> tuple[Tensor, Tensor]:
    """Angles and (improper) dihedrals of the complete set, (B, M) each."""
    angles = Cosines(len(beads), Molecule.of(beads).angles).to(x)(x).acos()
    rows = np.concatenate([Molecule.of(beads).dihedrals, Molecule.of(beads).impropers])
    cosine, sine = Dihedrals(len(beads), rows).to(x)(x)
    return angles, torch.atan2(sine, cosine)


def test_a_move_changes_one_coordinate_by_its_amount_and_no_other():
    beads, x = contract.peptide(), contract.conformations(3)
    moves = Moves(beads).double()
    assert moves.turns == len(Molecule.of(beads).dihedrals) and moves.bends == len(Molecule.of(beads).angles)
    before = torch.cat(internal(beads, x), 1)
    bonds = torch.tensor(beads.bonds)
    for number in range(len(moves)):
        amounts = torch.zeros(3, len(moves), dtype=x.dtype)
        amounts[:, number] = 0.2
        y = moves.turn(x, amounts)
        change = torch.remainder(torch.cat(internal(beads, y), 1) - before + math.pi, 2 * math.pi) - math.pi
        moved = change.abs().max(0).values > 1e-9
        assert int(moved.sum()) == 1
        torch.testing.assert_close(change[:, moved].abs(), torch.full((3, 1), 0.2, dtype=x.dtype))
        assert int(moved.nonzero()) < moves.bends or number < moves.turns
        length = [(z[:, bonds[:, 0]] - z[:, bonds[:, 1]]).norm(dim=2) for z in (x, y)]
        torch.testing.assert_close(*length)


def test_torques_are_slopes_along_the_moves():
    beads, x = contract.peptide(), contract.conformations(3)
    moves = Moves(beads).double()
    energy = registry.build("priors", "repulsion", beads)
    energy.fit(contract.frames(50))
    energy, x = energy.double(), 0.8 * x
    torques, h = moves.torques(x, forces(energy, x)[1]), 1e-5
    assert torques.abs().max() > 1
    for number in range(len(moves)):
        amounts = torch.zeros(3, len(moves), dtype=x.dtype)
        amounts[:, number] = h
        slope = (energy(moves.turn(x, amounts)) - energy(moves.turn(x, -amounts))) / (2 * h)
        assert (slope + torques[:, number]).abs().max() < 1e-6 * torques.abs().max()


def test_bonds_in_rings_do_not_turn():
    beads = dataclasses.replace(contract.chain_beads(6), bonds=((0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5)))
    rows, _ = Molecule.of(beads).rotatable
    assert rows[:, 1:3].tolist() == [[3, 4]]


def test_force_matching_finds_the_mean_force():
    frames = toy()
    x = torch.from_numpy(frames.positions)
    noise = torch.randn(x.shape, generator=Generator().manual_seed(1)) * 30
    exact = forces(Torsion(), x)[1]
    learned = network(frames.beads)
    before = error_of(learned)
    loss = ForceMatching(Moves(frames.beads), x, exact + noise)
    data = Sampled([x, exact + noise], frames.probabilities, size=64)
    fit(learned, loss, data, data, steps=200, rate=1e-2, every=100)
    assert error_of(learned) < 0.25 * before


def test_denoising_finds_the_energy_without_forces():
    frames = toy()
    x = torch.from_numpy(frames.positions)
    learned = network(frames.beads)
    before = error_of(learned)
    bare = Sum()
    data = Sampled([x], frames.probabilities, size=64)
    # noise of a tenth of a radian flattens the well by 1 / (1 + 2.5 * 0.01), two percent and a half
    fit(learned, Denoising(Moves(frames.beads), bare, x, KT), data, data, steps=300, rate=1e-2, every=100)
    assert error_of(learned) < 0.3 * before


class Exact(Propagator):
    """Draws the dihedral of the toy from the density of the energy as it is now."""

    lag = 1.0

    def __init__(self, energy: Energy):
        super().__init__()
        self.energy = energy

    def start(self, positions: Tensor, rng: Generator) -> State:
        return self.step(State(positions), rng)

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        x = contract.chain("dihedral", torch.linspace(-math.pi, math.pi, 181)[:-1])
        density = (-self.energy(x) / KT).softmax(0)
        return State(x[torch.multinomial(density, len(state.positions), replacement=True, generator=rng)])


def test_relative_entropy_makes_samples_look_like_the_data():
    frames = toy()
    learned = network(frames.beads)
    before = error_of(learned)
    fine_tune(learned, Exact(learned), frames, minutes=None, steps=150, seed=0, rate=2e-2)
    assert error_of(learned) < 0.3 * before


@pytest.mark.parametrize("broken", [torch.nan, 50.0])
def test_replicas_that_go_astray_are_replaced(broken):
    class Breaks(Exact):
        """The first bead of the first replica flies away, unless it comes alone, as one that starts anew does."""

        def step(self, state: State, rng: Generator) -> State:
            x = super().step(state, rng).positions.clone()
            if len(x) > 1:
                x[0, 0] = broken
            return State(x)

    class Watched(Energy):
        """Notes the longest bond that it is asked about."""

        def __init__(self, inner: Energy):
            super().__init__()
            self.inner, self.longest = inner, 0.0

        def forward(self, positions: Tensor) -> Tensor:
            self.longest = max(self.longest, float((positions[:, 1] - positions[:, 0]).norm(dim=1).max()))
            return self.inner(positions)

    frames = toy(200)
    inner = network(frames.beads)
    learned = Watched(inner)
    rows = fine_tune(learned, Breaks(inner), frames, minutes=None, steps=3, seed=0)
    assert all(math.isfinite(row["gap"]) for row in rows)
    assert all(torch.isfinite(p).all() for p in learned.parameters())
    assert learned.longest < 1.0  # nm


def test_weights_wait_for_replicas_that_are_left_behind():
    class Stuck(Exact):
        def step(self, state: State, rng: Generator) -> State:
            return State(contract.chain("dihedral", torch.full((len(state.positions),), CENTRE + math.pi)))

    class Depth(Torsion):
        def __init__(self):
            super().__init__()
            self.depth = torch.nn.Parameter(torch.zeros(()))

        def forward(self, positions: Tensor) -> Tensor:
            return self.depth * super().forward(positions)

    def gap(rate: float) -> float:
        learned = Depth()
        rows = fine_tune(learned, Stuck(learned), toy(200), minutes=None, steps=100, seed=0, rate=rate)
        return -rows[-1]["gap"]

    assert 4 < gap(0.1) < gap(0.3) < 2.3 * gap(0.1)  # as the square root of the rate; without waiting, threefold


def whole(beads: Beads) -> Sum:
    torch.manual_seed(0)
    kinds = ("bonds", "angles", "dihedrals", "impropers", "repulsion")
    return Sum(*(registry.build("priors", k, beads) for k in kinds), *network(beads).terms)


def with_forces(count: int = 60) -> Frames:
    noise = np.random.default_rng(0).normal(0, 50, (count, 12, 3)).astype(np.float32)
    return dataclasses.replace(contract.frames(count), forces=noise, lengths=(count // 3,) * 3)


@pytest.mark.parametrize("objective", ["force", "denoise"])
def test_training_fits_priors_and_moves_weights(objective):
    frames, energy = with_forces(), whole(contract.peptide())
    history = train_energy(energy, frames, objective=objective, minutes=None, steps=12)
    assert history.rows and math.isfinite(history.best["held_out"])
    value = energy(torch.from_numpy(frames.positions))
    assert torch.isfinite(value).all()
    assert energy.terms[-1](torch.from_numpy(frames.positions)).abs().max() > 0


def test_the_same_seed_gives_the_same_weights():
    states = []
    for _ in range(2):
        energy = whole(contract.peptide())
        train_energy(energy, with_forces(), minutes=None, steps=6, seed=3)
        states.append(energy.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_last_touch_with_dynamics():
    frames, energy = with_forces(), whole(contract.peptide())
    dynamics = registry.build("integrators", "baoab", frames.beads, energy, 300.0, timestep=0.001)
    train_energy(energy, frames, minutes=None, steps=6, dynamics=lambda: dynamics)
    assert torch.isfinite(energy(torch.from_numpy(frames.positions))).all()


def test_what_does_not_suit_is_refused():
    energy = whole(contract.peptide())
    with pytest.raises(ValueError, match="forces"):
        train_energy(energy, contract.frames(60), objective="force", steps=1)
    with pytest.raises(ValueError, match="objective"):
        train_energy(energy, contract.frames(60), objective="magic", steps=1)
    with pytest.raises(ValueError, match="ten or more"):
        train_energy(energy, contract.frames(5), steps=1)


def test_frames_are_drawn_by_their_weight():
    weights = np.array([0.0, 1.0, 3.0, 0.0])
    data = Sampled([torch.arange(4.0)[:, None]], weights / weights.sum(), size=4000)
    (drawn,) = data.draw(Generator().manual_seed(0))
    share = torch.bincount(drawn[:, 0].long(), minlength=4) / 4000
    torch.testing.assert_close(share, torch.tensor([0.0, 0.25, 0.75, 0.0]), atol=0.03, rtol=0)
    assert systematic(weights / 4, 4).tolist() == [1, 2, 2, 2]
