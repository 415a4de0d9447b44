"""One force field for several molecules: pooled priors, shared weights, and molecules that training did not have."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

from cgsurrogate import workflows
from cgsurrogate.core import registry
from cgsurrogate.core.energy import Sum, forces
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.models.model import Model, compose
from cgsurrogate.simulation.settings import SimulationSettings
from cgsurrogate.training.settings import EnergySettings

PRIORS = ("bonds", "angles", "dihedrals", "impropers", "repulsion")
NAMES = {"A": "ALA", "G": "GLY", "V": "VAL", "P": "PRO"}


def chain(sequence, count=400, seed=0, stretch=0.0):
    """CA beads that walk at random: bonds of 0.38 nm, longer by ``stretch`` beside valine."""
    from cgsurrogate.core import bead_types

    size, rng = len(sequence), np.random.default_rng(seed)
    residues = tuple(NAMES[letter] for letter in sequence)
    types = tuple(bead_types.number(name, "CA") for name in residues)
    bonds = tuple((i, i + 1) for i in range(size - 1))
    beads = Beads(("CA",) * size, types, (71.0,) * size, tuple(range(size)), residues, bonds)
    rest = np.array([0.38 + stretch * ("V" in sequence[i : i + 2]) for i in range(size - 1)])
    turn = np.array([1.0, 0, 0]) + rng.normal(0, 0.5, (count, size - 1, 3))
    turn *= (rest + rng.normal(0, 0.01, (count, size - 1)))[..., None] / np.linalg.norm(turn, axis=-1, keepdims=True)
    x = np.concatenate([np.zeros((count, 1, 3)), np.cumsum(turn, 1)], 1).astype(np.float32)
    return Frames(beads, x, (count // 2, count - count // 2), dt=1.0, temperature=300.0)


def fitted(*every, priors=PRIORS):
    energy = compose(every[0].beads, [("priors", name, {}) for name in priors])
    for term in energy.terms:
        term.fit(*every)
    return energy


def value(energy, frames):
    return forces(energy.double(), torch.from_numpy(frames.positions).double())


@pytest.mark.parametrize("name", PRIORS)
def test_the_same_molecule_twice_is_fitted_as_once(name):
    once, twice = chain("AGAVAG"), chain("AGAVAG", seed=1)
    both = dataclasses.replace(
        once, positions=np.concatenate([once.positions, twice.positions]), lengths=once.lengths + twice.lengths
    )
    first, second = value(fitted(both, priors=(name,)), once), value(fitted(once, twice, priors=(name,)), once)
    if name in ("bonds", "angles"):  # the ends of a chain are told apart where several are fitted
        assert torch.isfinite(second[0]).all() and (first[0] - second[0]).abs().max() < 0.2 * first[0].abs().max() + 10
        return
    torch.testing.assert_close(second[0], first[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second[1], first[1], rtol=1e-3, atol=1e-2)


def test_an_energy_bound_to_its_own_molecule_is_itself_and_shares_its_weights():
    every = chain("AGAVAG"), chain("GAVG", seed=1)
    energy = fitted(*every)
    network = registry.build("networks", "residues", every[0].beads, width=8)
    torch.nn.init.normal_(network.output.weight)
    whole = Sum(*energy.terms, network)
    same, other = whole.bound(every[0].beads), whole.bound(every[1].beads)
    for found, wanted in zip(value(same, every[0]), value(whole, every[0]), strict=True):
        assert torch.equal(found, wanted)
    assert [id(p) for p in other.terms[-1].parameters()] == [id(p) for p in network.parameters()]
    again = other.bound(every[0].beads)  # nothing is lost on the way
    assert torch.equal(value(again, every[0])[0], value(whole, every[0])[0])
    assert torch.isfinite(value(other, every[1])[0]).all()


def test_a_kind_that_only_the_second_molecule_has_serves_a_third():
    """Bonds beside valine are longer by 0.05 nm; only one of the fitted molecules has valine."""
    every = chain("AAAAAA", stretch=0.05), chain("AAVAAV", seed=1, stretch=0.05)
    energy, new = fitted(*every, priors=("bonds",)), chain("AVAAVA", seed=2, stretch=0.05)
    right, wrong = energy.bound(new.beads), fitted(every[0], priors=("bonds",))
    energies = value(right, new)[0] / new.kT
    assert abs(energies.mean() - 2.5) < 0.5  # half a kT a bond
    with pytest.warns(UserWarning, match="VAL"):
        assert value(wrong.bound(new.beads), new)[0].mean() / new.kT > 20


def test_beads_that_merely_never_met_are_no_wall_in_another_molecule():
    """Only valines come near each other; the new molecule has the residues of the other one, and is as compact."""
    straight, near, new = chain("AAAAAA"), chain("VVVVVV", seed=1), chain("AAAAAA", seed=2)
    compact, other = (dataclasses.replace(f, positions=0.3 * f.positions) for f in (near, new))
    energies = [fitted(*every, priors=("repulsion",)) for every in ((straight, compact), (straight,))]
    known, alone = (value(energy.bound(other.beads), other)[0].mean() / other.kT for energy in energies)
    assert known < 1 < alone


def test_what_nothing_fitted_is_like_is_refused_by_name():
    frames = chain("AAAAAA")
    strange = dataclasses.replace(frames.beads, names=("XY",) * 6, types=(registry_other(),) * 6)
    with pytest.raises(ValueError, match="XY-XY"):
        fitted(frames, priors=("bonds",)).bound(strange)


def registry_other():
    from cgsurrogate.core import bead_types

    return bead_types.OTHER


def test_a_model_of_several_molecules_is_stored_and_simulates_one_that_it_never_saw(tmp_path):
    every = chain("AGAVAG"), chain("GAVG", seed=1)
    settings = EnergySettings(steps=20, every=10, network="residues:width=8", fine_tune=False)
    made = workflows.make_energy(every[0], tmp_path / "model", settings, others=every[1:])
    assert made.info["training"]["molecules"] == ["ALA-GLY-ALA-VAL-ALA-GLY", "GLY-ALA-VAL-GLY"]
    stored, new = Model.load(tmp_path / "model"), chain("VAGAA", seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, wanted = (value(model.module.bound(new.beads), new)[0] for model in (stored, made))
        torch.testing.assert_close(found, wanted)
        simulation = workflows.make_simulation(stored, new, tmp_path / "out", SimulationSettings(0.4, 0.2, replicas=4))
    assert simulation.beads == new.beads and np.isfinite(simulation.positions).all()


def test_what_belongs_to_one_molecule_is_refused(tmp_path):
    every = chain("AGAVAG"), dataclasses.replace(chain("GAVG"), temperature=310.0)
    with pytest.raises(ValueError, match="one temperature"):
        workflows.make_energy(every[0], tmp_path / "a", EnergySettings(steps=2), others=every[1:])
    with pytest.raises(ValueError, match="one molecule"):
        settings = EnergySettings(steps=2, objective="likelihood")
        workflows.make_energy(every[0], tmp_path / "b", settings, others=every[:1])
