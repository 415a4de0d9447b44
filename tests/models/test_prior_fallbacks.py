"""Priors whose form or whose kinds do not suit the data: they go on, reproduce the distribution, and say so."""

from __future__ import annotations

import dataclasses
import warnings

import energy_contract as contract
import numpy as np
import pytest
import torch

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Prior, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.models.model import Model
from cgsurrogate.models.priors import _grouping
from cgsurrogate.training.force_field import train_energy

KT = units.thermal_energy(300.0)
RNG = np.random.default_rng(0)


def fitted(kind: str, frames: Frames) -> Prior:
    prior = registry.build("priors", kind, frames.beads)
    prior.fit(frames)
    return prior


def two_humps(first: float, second: float, width: float, share: float = 0.7, count: int = 4000) -> np.ndarray:
    number = int(share * count)
    return np.concatenate([RNG.normal(first, width, number), RNG.normal(second, width, count - number)])


def as_frames(x: torch.Tensor, beads: Beads | None = None) -> Frames:
    beads = contract.chain_beads(x.shape[1]) if beads is None else beads
    return Frames(beads, x.numpy().astype(np.float32), (len(x),), 1.0, 300.0)


def same_types(count: int) -> Beads:
    """A chain of beads of one type, so that all its bonds start as one kind, and so on."""
    return dataclasses.replace(contract.chain_beads(count), types=(30,) * count)


def ladder(lengths: np.ndarray) -> torch.Tensor:
    """Bonds (T, M) nm -> a straight chain (T, M + 1, 3)."""
    x = np.zeros((len(lengths), lengths.shape[1] + 1, 3))
    x[:, 1:, 0] = np.cumsum(lengths, 1)
    return torch.from_numpy(x)


def improper(q: np.ndarray) -> tuple[Beads, torch.Tensor]:
    """A centre with three neighbours of which the third stands at the improper dihedral ``q``."""
    beads = Beads(("A", "B", "C", "D"), (30, 31, 32, 33), (13.0,) * 4, (0,) * 4, ("ALA",) * 4, ((0, 2), (1, 2), (2, 3)))
    zero = np.zeros_like(q)
    rows = [(zero + 0.1, zero, zero - 0.1), (zero, zero, zero + 0.15), (zero, zero, zero)]
    rows.append((0.15 * np.cos(q), 0.15 * np.sin(q), zero - 0.05))
    return beads, torch.from_numpy(np.stack([np.stack(row, 1) for row in rows], 1))


# -- a form that does not fit -----------------------------------------------------------------------------------------


def test_a_bond_of_two_lengths_is_tabulated_and_keeps_both_populations():
    q = two_humps(0.12, 0.30, 0.004)
    prior = fitted("bonds", as_frames(contract.chain("bond", torch.from_numpy(q)))).double()
    (note,) = prior.notes
    assert note.startswith("bonds CA-CA (ALA-ALA): its form does not fit") and "a table of the distribution" in note
    grid = torch.linspace(0.05, 0.5, 4000, dtype=torch.float64)
    density = grid.square() * (-prior(contract.chain("bond", grid)) / KT).exp()
    density /= density.sum()
    assert float(density[grid < 0.21].sum()) == pytest.approx(0.7, abs=0.01)
    near = grid < 0.21
    assert float((grid * density)[near].sum() / density[near].sum()) == pytest.approx(0.12, abs=0.001)
    assert float(density[(grid < 0.1) | (grid > 0.33)].sum()) < 1e-3  # walls
    assert prior.summary()[0]["misfit"] < 0.05


def test_an_improper_of_both_hands_is_tabulated():
    beads, x = improper(two_humps(-2.0, 1.0, 0.15))
    prior = fitted("impropers", as_frames(x, beads)).double()
    assert len(prior.notes) == 1 and prior.notes[0].startswith("impropers ")
    grid = np.linspace(-np.pi, np.pi, 721)[:-1]
    x = improper(grid)[1]
    q = prior.coordinates(x)[:, 0]
    density = (-prior(x) / KT).exp()
    density /= density.sum()
    shares = sorted(float(density[(q * side > 0) & (q.abs() < 3)].sum()) for side in (-1, 1))
    assert shares == pytest.approx([0.3, 0.7], abs=0.03)


@pytest.mark.parametrize("kind", ["bond", "improper"])
def test_a_table_has_the_right_forces_and_a_simulation_evaluates_the_same(kind):
    q = two_humps(0.12, 0.30, 0.01) if kind == "bond" else two_humps(-2.0, 1.0, 0.15)
    beads, x = (None, contract.chain("bond", torch.from_numpy(q))) if kind == "bond" else improper(q)
    prior = fitted(f"{kind}s", as_frames(x, beads)).double()
    assert not prior.table.empty
    at = torch.linspace(0.02, 0.6, 60).double() if kind == "bond" else torch.linspace(-3.1, 3.1, 60).double()
    x = (contract.chain("bond", at) if kind == "bond" else improper(at.numpy())[1]).requires_grad_(True)
    value = prior(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    along, h = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0)), 1e-7
    with torch.no_grad():
        difference = (prior(x + h * along) - prior(x - h * along)) / (2 * h)
    expected = (slope * along).sum((1, 2))
    assert float((difference - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    from cgsurrogate.models.evaluation.evaluator import Forces

    fast, force = Forces(prior)(x.detach())
    torch.testing.assert_close(fast, value.detach())
    torch.testing.assert_close(force, -slope, atol=1e-6 * float(slope.abs().max()), rtol=1e-6)


# -- kinds of their own -----------------------------------------------------------------------------------------------


def test_one_longer_bond_among_equals_gets_a_kind_of_its_own():
    """Six bonds of 0.123 nm and one of 0.16."""
    rest, width = np.array([0.123] * 6 + [0.16]), 0.0025
    beads = same_types(8)
    prior = fitted("bonds", as_frames(ladder(RNG.normal(rest, width, (2000, 7))), beads))
    assert prior.index.tolist() == [0] * 6 + [1]
    rows = prior.summary()
    assert [row["b0 (nm)"] for row in rows] == pytest.approx([0.123, 0.16], abs=3e-4)
    assert [row["k (kJ/mol/nm^2)"] for row in rows] == pytest.approx([KT / width**2] * 2, rel=0.1)
    assert [row["term"] for row in rows] == ["bonds CA-CA (ALA-ALA)", "bonds CA-CA (ALA 7-ALA 8)"]
    (note,) = prior.notes
    assert "not alike" in note and "CA-CA (ALA 7-ALA 8)" in note
    again = fitted("bonds", as_frames(ladder(RNG.normal(0.123, width, (2000, 7))), beads))
    assert again.index.tolist() == [0] * 7 and not again.notes


def test_a_fit_of_other_frames_starts_from_the_types_again():
    beads = same_types(8)
    prior = fitted("bonds", as_frames(ladder(RNG.normal([0.12] * 6 + [0.14], 0.002, (500, 7))), beads))
    prior.fit(as_frames(ladder(RNG.normal(0.12, 0.002, (500, 7))), beads))
    assert len(prior.names) == 1 and not prior.notes and prior.table.empty


@pytest.mark.parametrize(
    "means, width, periodic, expected",
    [
        ([0.0, 0.06, 0.12, 0.18], 0.1, False, [0, 0, 0, 0]),  # a gradual change is one kind
        ([0.0, 1.0, 0.0, 1.0], 0.1, False, [0, 1, 0, 1]),
        ([0.0, 0.15, 0.0], 0.2, False, [0, 0, 0]),  # below one standard deviation
        ([0.0, 0.3, 0.0], 0.2, True, [0, 0, 0]),  # below two, of what turns
        ([-3.1, 3.1, -3.0], 0.1, True, [0, 0, 0]),  # across the seam
        ([-3.1, 3.1, 0.0, 1.5], 0.1, True, [0, 0, 1, 2]),
        ([-2.0, 2.0], 0.1, True, [0, 1]),  # left and right hand
        ([-2.0, 2.0], 3.0, True, [0, 0]),  # nothing to tell apart in what turns freely
    ],
)
def test_groups_of_means(means, width, periodic, expected):
    values = np.random.default_rng(1).normal(means, width, (4000, len(means)))
    values = (values + np.pi) % (2 * np.pi) - np.pi if periodic else values
    moments = _grouping.moments_of(values, np.full(4000, 1 / 4000), periodic)
    found = _grouping.groups(*moments, periodic, 1e-3)
    assert found.tolist() == expected


# -- where it is said, and kept ---------------------------------------------------------------------------------------


def awkward() -> Frames:
    """Equal bonds but one, and one of two lengths."""
    lengths = RNG.normal([0.123] * 5 + [0.16], 0.0025, (1000, 6))
    return as_frames(ladder(np.column_stack((lengths, two_humps(0.2, 0.4, 0.004, 0.5, 1000)))), same_types(8))


def test_a_stored_model_keeps_kinds_and_tables(tmp_path):
    frames = awkward()
    energy = Sum(fitted("bonds", frames))
    Model(energy, frames.beads, 300.0).save(tmp_path / "m")
    other = Model.load(tmp_path / "m").module
    x = torch.from_numpy(frames.positions[:20])
    assert torch.equal(other(x), energy(x))
    assert other.terms[0].summary() == energy.terms[0].summary()


def test_a_state_without_kinds_and_tables_as_stored_before_has_those_by_type():
    frames = contract.frames(200)
    for kind in registry.kinds("priors"):
        prior = fitted(kind, frames)
        old = {name: v for name, v in prior.state_dict().items() if name != "index" and not name.startswith("table")}
        other = registry.build("priors", kind, frames.beads)
        other.load_state_dict(old)
        x = torch.from_numpy(frames.positions[:5])
        assert torch.equal(other(x), prior(x)), kind


def test_the_history_of_a_training_has_the_notes_of_the_priors():
    frames, told = awkward(), []
    energy = Sum(registry.build("priors", "bonds", frames.beads))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = train_energy(energy, frames, report=lambda fraction, text: told.append(text))
    assert history.notes and set(history.notes) <= set(told)
    assert {str(w.message) for w in caught} >= set(history.notes)


@pytest.mark.parametrize("kind", ["bonds", "angles", "dihedrals", "impropers"])
def test_frames_without_any_spread_make_no_error(kind):
    frames = contract.frames(20, shake=0.0)
    prior = fitted(kind, frames)
    assert torch.isfinite(prior(contract.conformations(4).float())).all()
    assert all(np.isfinite(row["misfit"]) for row in prior.summary())


def test_what_no_energy_could_hold_is_an_error_that_names_it():
    frames = as_frames(ladder(np.zeros((10, 1))))
    with pytest.raises(ValueError, match=r"bonds CA-CA \(ALA-ALA\): its length is 0"):
        fitted("bonds", frames)
