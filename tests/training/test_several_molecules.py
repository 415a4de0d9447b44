"""One force field for several molecules: pooled priors, shared weights, and molecules that training did not have."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import torch

from cgsurrogate import workflows
from cgsurrogate.core import registry
from cgsurrogate.core.energy import Sum, forces
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.data import bead_structures, mapping
from cgsurrogate.data.generation import sequences
from cgsurrogate.models.model import Model, compose
from cgsurrogate.models.priors import _library
from cgsurrogate.simulation.settings import SimulationSettings
from cgsurrogate.training.held_out import held_out_molecules
from cgsurrogate.training.settings import EnergySettings
from cgsurrogate.training.several_molecules import SeveralObjectives, train_energy_together

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


def bent(sequence, width, seed):
    """Random walks whose angles spread the more, the larger ``width``."""
    frames, rng = chain(sequence, 3000), np.random.default_rng(seed)
    turn = np.array([1.0, 0, 0]) + rng.normal(0, width, (3000, len(sequence) - 1, 3))
    turn *= 0.38 / np.linalg.norm(turn, axis=-1, keepdims=True)
    x = np.concatenate([np.zeros((3000, 1, 3)), np.cumsum(turn, 1)], 1) + rng.normal(0, 0.003, (3000, len(sequence), 3))
    return dataclasses.replace(frames, positions=x.astype(np.float32), lengths=(1500, 1500))


def test_what_pooled_priors_miss_of_a_molecule_the_network_learns():
    """Inner angles have the same kind, and other distributions in both molecules, which the residues at the ends tell.

    Measured by how much better each fits its own frames than those of the other, in kT.
    """
    every, terms = (bent("GAAAAG", 0.25, 0), bent("VAAAAV", 0.7, 1)), ("bonds", "angles", "dihedrals")
    recipes = [*(("priors", name, {}) for name in terms), ("networks", "residues", {"width": 16})]
    torch.manual_seed(0)
    energy = compose(every[0].beads, recipes)
    train_energy_together(energy, every, EnergySettings(steps=300, every=100, fine_tune=False))
    for k in (0, 1):
        own = energy.bound(every[k].beads)
        other = dataclasses.replace(every[1 - k], beads=every[k].beads)
        pooled, known = Sum(*own.terms[:3]), fitted(every[k], priors=terms)
        found, before, wanted = (
            float((value(u, other)[0].mean() - value(u, every[k])[0].mean()) / other.kT) for u in (own, pooled, known)
        )
        assert abs(found - wanted) < 0.75 * abs(before - wanted)


def test_of_many_molecules_some_choose_the_weights_and_teach_nothing():
    every = [chain("".join(s), 100, seed=k) for k, s in enumerate(itertools.product("AG", repeat=4))][:12]
    settings = EnergySettings(steps=4, every=2, fine_tune=False)
    learning, held = held_out_molecules(every, settings)
    energy = compose(every[0].beads, [("priors", "angles", {}), ("networks", "residues", {"width": 8})])
    history = train_energy_together(energy, every, settings)
    assert len(held) == 2 and np.isfinite(history.best["held_out"])
    of_learning, of_all = (fitted(*some, priors=("angles",)) for some in (learning, every))
    found, wanted, other = (
        value(Sum(u.terms[0]).bound(held[0].beads), held[0])[0] for u in (energy, of_learning, of_all)
    )
    assert torch.equal(found, wanted) and not torch.equal(found, other)
    objectives = SeveralObjectives([Part() for _ in range(12)], validating=2)
    assert {int(objectives.draw(torch.Generator().manual_seed(k))[-1]) for k in range(200)} == set(range(10))
    assert {int(batch[-1]) for batch in objectives.held_out()} == {10, 11}


class Part:
    """An objective whose batches say nothing."""

    def draw(self, rng):
        return (torch.zeros(1),)

    def held_out(self):
        return [(torch.zeros(1),)]


def dihedrals(sequence):
    """Of backbone beads: by the number of the residue and the central bond, what the prior is known by."""
    beads, _ = bead_structures.of_sequence(sequences.parse(sequence), mapping.builder("backbone"))
    rows = registry.build("priors", "dihedrals", beads).rows
    keys = _library.keys(beads, rows, ends=False, residues="own")
    return {
        (beads.residues[row[1]], *sorted(beads.names[i] for i in row[1:3])): key
        for row, key in zip(rows, keys, strict=True)
    }


@pytest.mark.parametrize("bond", [("CA", "N"), ("C", "CA"), ("C", "N")])
def test_dihedrals_belong_to_a_residue_whatever_is_beside_it_unless_that_is_proline(bond):
    first, other, proline, own = (dihedrals(s)[1, *bond] for s in ("AVGS", "LVTS", "AVPS", "ALGS"))
    assert first == other
    assert (first == proline) == (bond == ("CA", "N"))  # phi does not see what follows
    assert (first == own) == (bond == ("C", "N"))  # omega is of no residue


def test_what_belongs_to_one_molecule_is_refused(tmp_path):
    every = chain("AGAVAG"), dataclasses.replace(chain("GAVG"), temperature=310.0)
    with pytest.raises(ValueError, match="one temperature"):
        workflows.make_energy(every[0], tmp_path / "a", EnergySettings(steps=2), others=every[1:])
    with pytest.raises(ValueError, match="one molecule"):
        settings = EnergySettings(steps=2, objective="likelihood")
        workflows.make_energy(every[0], tmp_path / "b", settings, others=every[:1])
