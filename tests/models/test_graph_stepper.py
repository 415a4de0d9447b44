"""Laws of the stepper whose weights belong to kinds: exact density, any length, several molecules, unseen sequences."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flipping_chains import INSIDE, SMALL, make_beads, make_frames, make_stepper, torsion_kinds

from cgsurrogate.cli import group
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.zmatrix import ZMatrix, wrap
from cgsurrogate.models.model import Model
from cgsurrogate.models.steppers import _coordinate_types, _similar_kinds
from cgsurrogate.training.batches import LaggedPairs, SeveralMolecules
from cgsurrogate.training.held_out import held_out_molecules
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import train_stepper


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_pair(stepper, frames, count):
    now = stepper.encode(torch.as_tensor(frames.positions[:1].copy())).expand(count, -1)
    return now, torch.full((count,), stepper.lag)


def test_soft_density_integrates_to_one():
    frames = make_frames("AGAGA")
    stepper = make_stepper(frames, rough=0.3)
    assert int(stepper.soft.sum()) == 2
    grid = (torch.arange(150) + 0.5) / 150 * 2 * math.pi - math.pi
    later = torch.cartesian_prod(grid, grid)
    now, lag = one_pair(stepper, frames, len(later))
    with torch.no_grad():
        soft, _ = stepper.log_density_parts(now, torch.cat([later, now[:, 2:]], 1), lag)
    assert soft.sum(1).exp().sum().item() * (2 * math.pi / 150) ** 2 == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(("sequence", "other"), [("AGAGA", 0.01), ("AGAGAGAGAGAGA", 0.001)])
def test_draws_follow_the_density_jointly(sequence, other):
    """E over draws from p of q / p is one for any other density q: here the same stepper with other weights."""
    frames = make_frames(sequence)
    stepper = make_stepper(frames, rough=0.2)
    count = 6_000
    now, lag = one_pair(stepper, frames, count)
    drawn = stepper.draw(now, lag, generator())
    with torch.no_grad():
        p = stepper.log_density(now, drawn, lag)
        for parameter in stepper.parameters():
            parameter.add_(other * torch.randn(parameter.shape, generator=generator(1)))
        ratio = (stepper.log_density(now, drawn, lag) - p).exp()
    assert ratio.std() > 0.01
    assert abs(ratio.mean().item() - 1) < 5 * ratio.std().item() / math.sqrt(count)


@pytest.mark.slow
def test_each_angle_is_drawn_from_its_own_conditional_density():
    """The share of the conditional density below each drawn angle is uniform (Rosenblatt 1952)."""
    frames, count, size = make_frames("AGAGA"), 400, 400
    stepper = make_stepper(frames, rough=0.3)
    now, lag = one_pair(stepper, frames, count)
    drawn = stepper.draw(now, lag, generator())
    grid = (torch.arange(size) + 0.5) / size * 2 * math.pi - math.pi
    for d in range(int(stepper.soft.sum())):
        later = drawn.repeat_interleave(size, 0)
        later[:, d] = grid.repeat(count)
        with torch.no_grad():
            soft, _ = stepper.log_density_parts(now.repeat_interleave(size, 0), later, lag.repeat_interleave(size))
        mass = soft[:, d].exp().view(count, size) * 2 * math.pi / size
        below = (mass * (grid < drawn[:, d, None])).sum(1).sort().values
        assert torch.allclose(mass.sum(1), torch.ones(count), atol=1e-2)
        assert (below - (torch.arange(count) + 0.5) / count).abs().max() < 1.95 / math.sqrt(count)


def test_weights_do_not_grow_with_the_chain():
    sizes = [sum(p.numel() for p in make_stepper(make_frames("A" * n, (60, 60))).parameters()) for n in (16, 40)]
    assert sizes[0] == sizes[1]


def test_what_is_far_along_the_chain_and_in_space_is_not_felt():
    """A straight chain: the density of the first angles does not depend on the last ones of the present structure."""
    frames = make_frames("A" * 30, (60, 60))
    stepper = make_stepper(frames, rough=0.1)
    z = stepper.zmatrix
    flat = torch.full((2, 27), math.pi)
    flat[1, -3:] = 1.0
    x = z.to_positions(torch.full((2, 29), 0.38), torch.full((2, 28), 2.4), flat)
    now, lag = stepper.encode(x), torch.full((2,), stepper.lag)
    with torch.no_grad():
        soft, _ = stepper.log_density_parts(now, now[:1].expand(2, -1), lag)
    assert torch.allclose(soft[0, :10], soft[1, :10], atol=1e-5) and not torch.allclose(soft[0], soft[1], atol=1e-2)


def test_an_unseen_residue_takes_the_place_of_the_likest_and_that_is_said():
    """Of alanines and valines, glycine is likest to alanine and isoleucine to valine: then all is as with these."""
    stepper = make_stepper(make_frames("AAAVAA"), rough=0.3)
    for unseen, like in (("AAAIAA", "AAAVAA"), ("AAAGAA", "AAAAAA")):
        with pytest.warns(UserWarning, match="not trained on"):
            strange = stepper.bound(make_beads(unseen))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some kinds of all alanines were not seen either
            usual = stepper.bound(make_beads(like))
        now = usual.encode(torch.from_numpy(make_frames(like).positions[:20]))
        lag = torch.full((20,), stepper.lag)
        with torch.no_grad():
            assert torch.equal(strange.log_density(now, now.flip(0), lag), usual.log_density(now, now.flip(0), lag))


def test_what_is_like_nothing_is_refused_by_name():
    stepper, beads = make_stepper(make_frames("AAAAAA")), make_beads("AAAAAA")
    with pytest.raises(ValueError, match="XY"):
        stepper.bound(dataclasses.replace(beads, names=("XY", *beads.names[1:])))


@pytest.mark.parametrize(
    ("name", "known", "wanted"),
    [
        ("ILE C-CA", ("ALA C-CA", "VAL C-CA"), "VAL C-CA"),
        ("ALA N[+1]'-C", ("ALA N[+1]-C", "GLY N[+1]'-C"), "GLY N[+1]'-C"),
        ("ALA N[+1]'-C", ("ALA N[+1]-C", "ALA C-N"), "ALA N[+1]-C"),
        ("ALA OXT-C-CA-N", ("GLY O-C-CA-N", "GLY O-C-CA-C"), "GLY O-C-CA-N"),
        ("ALA O-C-CA-N[-1]", ("ALA O-C-CA-N", "ALA O-C-CA-N[+1]"), None),
    ],
)
def test_kinds_are_alike_by_beads_then_by_elements(name, known, wanted):
    assert _similar_kinds.kind(name, known) == wanted


def test_bound_to_its_own_molecule_it_is_the_same_and_shares_weights(tmp_path):
    frames, other = make_frames("AGAAGGA"), make_beads("GAGAAGAGA")
    stepper = make_stepper(frames, rough=0.1)
    twin = stepper.bound(frames.beads)
    now = stepper.encode(torch.as_tensor(frames.positions[:9].copy()))
    lag = torch.full((9,), stepper.lag)
    assert torch.equal(stepper.log_density(now, now.flip(0), lag), twin.log_density(now, now.flip(0), lag))
    assert {id(p) for p in twin.parameters()} == {id(p) for p in stepper.parameters()}
    Model(stepper, frames.beads, 300.0).save(tmp_path)
    code = torch.zeros(1, 3 * 9 - 6)
    ends = [s.bound(other).draw(code, lag[:1], generator()) for s in (stepper, Model.load(tmp_path).module)]
    assert torch.equal(*ends)


@pytest.fixture(scope="module")
def trained():
    """Trained on two molecules of 5 and 8 residues."""
    every = [make_frames(s, (1000, 1000), seed) for seed, s in enumerate(("AGAGA", "GAAGGAAG"))]
    stepper = registry.build("steppers", "graph", every[0].beads, **SMALL)
    train_stepper(stepper, every[0], StepperSettings(lag=40.0, steps=150, seed=1), others=every[1:])
    return stepper.eval(), every


def test_a_sequence_that_was_not_trained_has_the_populations_of_its_residues(trained):
    """Lengths, order and neighbours are new; the populations of each residue's torsion are not."""
    stepper, _ = trained
    frames = make_frames("GGAAAGGAGA")
    other = stepper.bound(frames.beads)
    rng, inside = generator(), []
    state = other.start(torch.as_tensor(frames.positions[:400].copy()), rng)
    for _ in range(30):
        state = other.step(state, rng)
        inside.append((wrap(other.zmatrix.to_internal(state.positions)[2] - 2.0).abs() < 1.6).double().mean(0))
    seen = torch.stack(inside[15:]).mean(0)
    expected = torch.tensor([INSIDE[residue] for residue in torsion_kinds(frames.beads)])
    assert (seen - expected).abs().max() < 0.25 and torch.equal(seen > 0.5, expected > 0.5)
    bonds = other.zmatrix.to_internal(state.positions)[0]
    assert bonds.min() > 0.33 and bonds.max() < 0.43


def test_batches_come_from_one_molecule_at_a_time(trained):
    stepper, every = trained
    steppers = [stepper, stepper.bound(every[1].beads)]
    several = SeveralMolecules([LaggedPairs(s, f, batch=8, batches=2) for s, f in zip(steppers, every, strict=True)])
    rng, sizes = generator(), (9, 18)
    drawn = [several.draw(rng) for _ in range(20)]
    assert all(now.shape == later.shape == (8, sizes[int(which)]) for now, later, _, which in drawn)
    assert {int(batch[3]) for batch in drawn} == {0, 1}
    assert [int(batch[3]) for batch in several.fixed()] == [0, 0, 1, 1]


def test_each_molecule_learns_the_lags_that_its_runs_support():
    fine, coarse = make_frames("AGAGA", (400, 400), dt=2.0), make_frames("GAGAG", (400, 400), dt=10.0)
    stepper = make_stepper(fine, coarse)
    low, high = stepper.lags
    assert low < 10.0 <= stepper.lag <= min(200.0, high)
    batches = LaggedPairs(stepper.bound(coarse.beads), coarse).draw(generator())
    assert batches[2].min() >= 10.0
    far = make_frames("GAGAG", (400, 400), dt=1000.0)
    with pytest.raises(ValueError, match="1000 ps"):
        make_stepper(fine, far)
    single = registry.build("steppers", "autoregressive", fine.beads)
    with pytest.raises(ValueError, match="graph"):
        train_stepper(single, fine, StepperSettings(steps=1), others=[coarse])


def test_several_molecules_on_the_command_line(tmp_path):
    for name, sequence in (("a", "AGAGA"), ("b", "GAAGGA"), ("c", "AAGGAAG")):
        make_frames(sequence, (200, 200)).save(tmp_path / name)
    paths = [str(tmp_path / name) for name in "abc"]
    kind = "graph:" + ",".join(f"{key}={value}" for key, value in SMALL.items())
    train = [
        "train",
        "stepper",
        *paths[:2],
        "--stepper",
        kind,
        "--minutes",
        "0.02",
        "-q",
        "-o",
        str(tmp_path / "model"),
    ]
    result = CliRunner().invoke(group, train)
    assert result.exit_code == 0, result.output
    assert Model.load(tmp_path / "model").info["training"]["molecules"] == [
        "ALA-GLY-ALA-GLY-ALA",
        "GLY-ALA-ALA-GLY-GLY-ALA",
    ]
    lag = Model.load(tmp_path / "model").module.lag
    simulate = ["simulate", str(tmp_path / "model"), "--start", paths[2], "--replicas", "4", "--time", str(5 * lag)]
    result = CliRunner().invoke(group, [*simulate, "--every", str(lag), "-q", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert Frames.load(tmp_path / "out").beads == make_beads("AAGGAAG")
    unseen = make_frames("AGAGA", beads=make_beads("AGAGA"))
    Frames(make_beads("AGAPA"), unseen.positions, unseen.lengths, 2.0, 300.0).save(tmp_path / "d")
    simulate[3] = str(tmp_path / "d")
    with pytest.warns(UserWarning, match="not trained on PRO"):
        result = CliRunner().invoke(group, [*simulate, "--every", str(lag), "-q", "-o", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output


def test_a_chain_with_capped_ends_and_side_chains_passes_through(peptide_frames):
    """Backbone beads of Ace-Ala5-NMe: phi and psi of all residues are of two kinds."""
    stepper = make_stepper(peptide_frames, rough=0.05)
    assert {"ALA C-CA-N-C[-1]", "ALA N[+1]-C-CA-N"} <= set(stepper.vocabulary.kinds)
    x = torch.as_tensor(peptide_frames.positions[:5].copy()).double()
    stepper = stepper.double()
    assert (stepper.decode(stepper.encode(x), like=x) - x).abs().max() < 1e-8


def backbone(*residues):
    """N, CA, CB, C, O of each residue; glycine without CB."""
    names, owner, bonds, last = [], [], [], None
    for k, residue in enumerate(residues):
        n = len(names)
        side = [] if residue == "GLY" else ["CB"]
        names += ["N", "CA", *side, "C", "O"]
        c = n + 2 + len(side)
        bonds += [(n, n + 1), (n + 1, c), (c, c + 1), *([(n + 1, n + 2)] if side else [])]
        bonds += [] if last is None else [(last, n)]
        last, owner = c, owner + [k] * (4 + len(side))
    size = len(names)
    beads = tuple(residues[k] for k in owner)
    return Beads(tuple(names), (0,) * size, (12.0,) * size, tuple(owner), beads, tuple(sorted(bonds)))


def test_a_proline_marks_what_comes_before_it_and_the_first_residue_is_like_any_other():
    def kinds(*residues):
        beads = backbone(*residues)
        chain = _coordinate_types.describe(beads, ZMatrix(beads, True))
        return [{kind for kind, home in zip(chain.kinds, chain.homes, strict=True) if home == k} for k in range(4)]

    first, inner, before, _ = kinds("ALA", "ALA", "ALA", "PRO")
    assert first <= inner and inner != before
    assert {kind for kind in before if "'" in kind} == {
        "ALA N[+1]'-C", "ALA N[+1]'-C-CA", "ALA N[+1]'-C-CA-N", "ALA O-C-CA-N[+1]'"
    }  # fmt: skip
    assert not any("CB" in kind for kind in kinds("ALA", "GLY", "ALA", "ALA")[1])


@pytest.mark.parametrize("mapping", ["backbone", "ca", "heavy"])
def test_every_mapping_passes_through(peptide, atoms, mapping):
    made = registry.build("mappings", mapping, peptide.topology)
    frames = Frames(made.beads, made.positions(atoms), (25, 15), 2.0, 300.0)
    stepper = make_stepper(frames, rough=0.05)
    state = stepper.start(torch.as_tensor(frames.positions[:5].copy()), generator())
    for _ in range(3):
        state = stepper.step(state, generator())
    assert torch.isfinite(state.positions).all()
    x, lag = state.positions, torch.full((5,), stepper.lag)
    assert torch.isfinite(stepper.log_density(stepper.encode(x), stepper.encode(x.flip(0)), lag)).all()


def test_of_many_molecules_some_are_held_out_whole_and_choose_the_weights():
    every = [make_frames("".join(s), (80, 80), seed=k) for k, s in enumerate(itertools.product("AG", repeat=4))][:12]
    settings = StepperSettings(steps=4, every=2, held_out_fraction=0.25)
    learning, held = held_out_molecules(every, settings)
    assert (len(learning), len(held)) == (9, 3) and learning[0] is every[0]
    assert not {*map(id, learning)} & {*map(id, held)}
    assert held_out_molecules(every[:5], settings) == (every[:5], [])
    stepper = registry.build("steppers", "graph", every[0].beads, width=8, hidden=8, tail=8)
    history = train_stepper(stepper, every[0], settings, others=every[1:])
    assert np.isfinite(history.best["held_out"])
