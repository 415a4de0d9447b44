"""Collective variables: right on built geometry, bounded in memory, and the projection."""

import dataclasses

import numpy as np
import pytest
import torch
from known_chains import autoregressive, calphas
from scipy.signal import lfilter

from cgsurrogate.analysis.cvs._base import TooSmall
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import correlation_time, statistical_inefficiency
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.zmatrix import ZMatrix


def frames_of(positions, beads=None, lengths=None, dt=1.0, weights=None):
    positions = np.asarray(positions, np.float32)
    return Frames(
        beads or calphas(positions.shape[1]), positions, lengths or (len(positions),), dt, 300.0, None, weights
    )


def rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def walk(rng, frames, beads, step=0.05):
    """Slow random motion of a stretched chain."""
    start = np.cumsum(rng.normal(size=(beads, 3)), 0) * 0.25
    moves = lfilter([1], [1, -0.9], rng.normal(size=(frames, beads, 3)) * step, axis=0)
    return start + moves


WIDE = {"native_contacts": {"cutoff": 3.0}, "contacts": {"cutoff": 1.2}}  # stretched chains have no contacts


def test_phi_and_psi_agree_with_mdtraj(peptide, atoms, peptide_frames):
    import mdtraj

    trajectory = mdtraj.Trajectory(atoms, peptide.topology)
    cv = registry.build("cvs", "torsions", peptide_frames)
    values = dict(zip(cv.labels, cv(peptide_frames).T, strict=True))
    for kind, compute in (("phi", mdtraj.compute_phi), ("psi", mdtraj.compute_psi)):
        quads, expected = compute(trajectory)
        for quad, column in zip(quads, expected.T, strict=True):
            residue = peptide.topology.atom(quad[1]).residue.index + 1
            error = np.angle(np.exp(1j * (values[f"{kind} {residue}"] - column)))
            assert np.abs(error).max() < 1e-4
    assert [(cv.labels[a], cv.labels[b]) for a, b in cv.pairs] == [(f"phi {r}", f"psi {r}") for r in range(2, 7)]


def helix(count, turn=100.0, rise=0.15, radius=0.23):
    angle = np.deg2rad(turn) * np.arange(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), rise * np.arange(count)], 1)


def test_a_right_handed_alpha_helix_has_fifty_degrees_and_its_mirror_image_has_not():
    right = helix(12)
    both = frames_of([right, right * [1, 1, -1]])
    torsion = np.rad2deg(registry.build("cvs", "torsions", both)(both))
    assert np.allclose(torsion[0], 50, atol=3) and np.allclose(torsion[1], -torsion[0], atol=1e-3)
    content = registry.build("cvs", "helix", both)(both)[:, 0]
    assert content[0] == 1 and content[1] == 0


def test_helix_windows_in_a_row():
    """Three helical windows in a row, a break, and one alone: a row of two keeps three of them, one of four none."""
    turn = torch.deg2rad(torch.tensor([50.0, 50, 50, -90, 50, -90]))
    zmatrix = ZMatrix(calphas(9), from_start=True)
    bonds, angles, _ = zmatrix.to_internal(torch.from_numpy(helix(9)[None]))
    frames = frames_of(zmatrix.to_positions(bonds, angles, turn[None].double()))
    share = [registry.build("cvs", "helix", frames, row=row)(frames)[0, 0] * 6 for row in (1, 2, 3, 4)]
    assert share == pytest.approx([4, 3, 3, 0])
    whole = frames_of([helix(12)])
    assert registry.build("cvs", "helix", whole, row=9)(whole)[0, 0] == 1
    beads = calphas(12)
    apart = dataclasses.replace(beads, bonds=beads.bonds[:5] + beads.bonds[6:])
    broken = frames_of([helix(12)], apart)
    assert registry.build("cvs", "helix", broken, row=3)(broken)[0, 0] == 1  # six and six CA: three windows each
    assert registry.build("cvs", "helix", broken, row=4)(broken)[0, 0] == 0
    with pytest.raises(TooSmall, match="at least 13 CA"):
        registry.build("cvs", "helix", whole, row=10)
    with pytest.raises(ValueError, match="at least one window"):
        registry.build("cvs", "helix", whole, row=0)


def test_radius_of_gyration_counts_masses():
    beads = Beads(("A", "B"), (0, 0), (1.0, 3.0), (0, 0), ("X", "X"), ((0, 1),))
    pair = frames_of([[[0, 0, 0], [4, 0, 0]], [[1, 1, 1], [1, 1, 3]]], beads)
    # m1 m2 / (m1 + m2)^2 d^2
    assert np.allclose(registry.build("cvs", "gyration", pair)(pair)[:, 0], np.sqrt(3 / 16) * np.array([4, 2]))
    cube = frames_of([[(x, y, z) for x in (0, 2) for y in (0, 2) for z in (0, 2)]])
    assert registry.build("cvs", "gyration", cube)(cube)[0, 0] == pytest.approx(np.sqrt(3))


def test_end_to_end_uses_the_first_and_last_ca(peptide_frames):
    cv = registry.build("cvs", "end_to_end", peptide_frames)
    ca = [i for i, name in enumerate(peptide_frames.beads.names) if name == "CA"]
    x = np.asarray(peptide_frames.positions, float)
    assert np.allclose(cv(peptide_frames)[:, 0], np.linalg.norm(x[:, ca[-1]] - x[:, ca[0]], axis=-1), atol=1e-6)


def test_rmsd_is_zero_for_a_turned_copy_large_for_a_mirror_image_and_agrees_with_mdtraj():
    import mdtraj

    rng = np.random.default_rng(2)
    x = walk(rng, 30, 9)
    copies = np.stack([x[0], x[0] @ rotation(rng).T + 5, x[0] * [1, 1, -1]])
    cv = registry.build("cvs", "rmsd", frames_of(x), to="first")
    values = cv(frames_of(copies))[:, 0]
    assert values[0] < 1e-3 and values[1] < 1e-3 and values[2] > 0.05
    top = mdtraj.Topology()
    chain = top.add_chain()
    for _ in range(9):
        top.add_atom("CA", mdtraj.element.carbon, top.add_residue("ALA", chain))
    trajectory = mdtraj.Trajectory(x.astype(np.float32), top)
    assert np.allclose(cv(frames_of(x))[:, 0], mdtraj.rmsd(trajectory, trajectory, 0), atol=1e-4)


def test_rmsd_to_the_medoid_to_a_file_and_to_an_array_agree(tmp_path, peptide, peptide_pdb, peptide_frames):
    by_file = registry.build("cvs", "rmsd", peptide_frames, to=str(peptide_pdb))
    given = np.zeros((len(peptide_frames.beads), 3))
    given[measures.calphas(peptide_frames.beads)] = peptide.xyz[0, peptide.topology.select("name CA")]
    by_array = registry.build("cvs", "rmsd", peptide_frames, to=given)
    assert np.allclose(by_file(peptide_frames), by_array(peptide_frames), atol=1e-6)
    medoid = registry.build("cvs", "rmsd", peptide_frames)(peptide_frames)[:, 0]
    others = [registry.build("cvs", "rmsd", peptide_frames, to=k)(peptide_frames).mean() for k in range(0, 40, 7)]
    assert medoid.mean() <= min(others) + 1e-6 and medoid.min() < 1e-3
    with pytest.raises(FileNotFoundError, match="expected a structure file"):
        registry.build("cvs", "rmsd", peptide_frames, to=str(tmp_path / "none.pdb"))
    with pytest.raises(ValueError, match="expected a structure of shape"):
        registry.build("cvs", "rmsd", peptide_frames, to=np.zeros((3, 3)))


def test_chunks_change_nothing(monkeypatch, peptide_frames):
    longer = frames_of(walk(np.random.default_rng(1), 600, 6))  # VAMP of a few frames has many singular values of one

    def values_of(name):
        frames = longer if name == "vamp" else peptide_frames
        return registry.build("cvs", name, frames, **WIDE.get(name, {}))(frames)

    whole = {name: values_of(name) for name in registry.kinds("cvs")}
    monkeypatch.setattr(measures, "CHUNK", 400)
    for name, values in whole.items():
        again = values_of(name)
        assert np.allclose(np.abs(again), np.abs(values), atol=1e-3 * np.abs(values).max()), name


def test_torsions_stop_at_a_chain_break():
    beads = calphas(8)
    broken = dataclasses.replace(beads, bonds=beads.bonds[:3])
    with_gap = dataclasses.replace(beads, residues=(0, 1, 2, 3, 9, 10, 11, 12), bonds=())
    assert len(measures.torsion_quads(beads)[0]) == 5
    assert len(measures.torsion_quads(broken)[0]) == 1
    assert len(measures.torsion_quads(with_gap)[0]) == 2


def hidden_process(rng, frames, slow=200, fast=2):
    """A chain of seven beads whose middle bends slowly while everything shakes fast; returns positions and the bend."""
    hidden = np.stack([autoregressive(rng, 1, frames, np.exp(-1 / time)) for time in (slow, fast)], 1)
    x = np.tile(helix(7), (frames, 1, 1))
    x[:, 4:, 0] += 0.03 * hidden[:, :1]
    x[:, :3, 1] += 0.12 * hidden[:, 1:]
    return x + rng.normal(size=x.shape) * 0.003, hidden[:, 0]


def test_tica_finds_the_slow_motion_and_not_the_large_one():
    x, bend = hidden_process(np.random.default_rng(3), 20_000)
    frames = frames_of(x, lengths=(12_000, 8_000), dt=2.0)
    cv = registry.build("cvs", "tica", frames)
    values = cv(frames)
    assert cv.labels[:2] == ("TIC 1", "TIC 2") and cv.pairs == ((0, 1),) and "ps" in cv.notes[0]
    assert abs(np.corrcoef(values[:, 0], bend)[0, 1]) > 0.9
    assert 5 <= cv.lag <= 60  # a tenth of the correlation time of 200 frames
    assert np.abs(values.mean(0)).max() < 0.05 * values.std(0)[0]


def test_weighted_reference_gets_principal_components_of_the_weighted_density():
    rng = np.random.default_rng(4)
    x, _ = hidden_process(rng, 2000)
    weights = rng.random(2000)
    plain = registry.build("cvs", "tica", frames_of(x, weights=weights))
    assert plain.labels[0] == "PC 1" and plain.lag is None and "weighted" in plain.notes[0]
    values = plain(frames_of(x, weights=weights))
    share = weights / weights.sum()
    centred = values - share @ values
    covariance = (centred * share[:, None]).T @ centred
    assert np.allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-5)
    assert (np.diff(np.diag(covariance)) <= 1e-6).all() and np.abs(share @ values).max() < 1e-4


def test_a_tica_lag_beyond_the_runs_is_refused_and_short_runs_get_principal_components():
    x = walk(np.random.default_rng(5), 200, 6)
    with pytest.raises(ValueError, match="TICA lag must lie"):
        registry.build("cvs", "tica", frames_of(x), lag=1e6)
    assert registry.build("cvs", "tica", frames_of(x, lengths=(10,) * 20)).labels[0] == "PC 1"


@pytest.mark.parametrize(
    ("name", "beads"),
    [
        ("torsions", 3),
        ("end_to_end", 1),
        ("tica", 1),
        ("vamp", 1),
        ("helix", 3),
        ("native_contacts", 4),
        ("contacts", 3),
    ],
)
def test_too_few_beads_is_one_clear_line(name, beads):
    with pytest.raises(TooSmall, match=r"needs? "):
        registry.build("cvs", name, frames_of(np.random.default_rng(0).normal(size=(30, beads, 3))))


def test_correlation_time_of_a_known_process():
    rng, frames, decay = np.random.default_rng(6), 200_000, np.exp(-1 / 20)
    x = autoregressive(rng, 1, frames, decay)
    runs = tuple(slice(k, k + 20_000) for k in range(0, frames, 20_000))
    exact = (1 + decay) / (1 - decay)  # 1 + 2 sum of decay^k
    assert statistical_inefficiency(x[:, None], runs) == pytest.approx(exact, rel=0.15)
    assert statistical_inefficiency(rng.normal(size=(5000, 1)), (slice(0, 5000),)) < 1.2
    assert correlation_time(np.ones((50, 1)), (slice(0, 50),))[0] == 0.5


def test_runs_in_different_states_are_correlated_over_their_whole_length():
    rng = np.random.default_rng(7)
    x = np.repeat([0.0, 10.0, 0.0, 10.0], 100)[:, None] + rng.normal(size=(400, 1)) * 0.1
    runs = tuple(slice(k, k + 100) for k in range(0, 400, 100))
    assert statistical_inefficiency(x, runs) > 90


# contacts


def test_native_contacts_are_the_sum_of_best_hummer_and_eaton():
    """Two native pairs by hand: one stretched to its end (one half), one far beyond (nothing)."""
    native = np.array([[0, 0, 0], [5, 0, 0], [9, 9, 0], [0, 9, 9], [0.5, 0, 0], [5, 0.6, 0]], float)
    moved = native.copy()
    moved[4, 0] = 1.2 * 0.5
    moved[5, 1] = 3.0
    frames = frames_of([native, moved])
    cv = registry.build("cvs", "native_contacts", frames, to="first")
    inside = [1 / (1 + np.exp(50 * (r - 1.2 * r))) for r in (0.5, 0.6)]
    assert np.allclose(cv(frames)[:, 0], [np.mean(inside), (0.5 + 0) / 2], atol=1e-6)
    sharper = registry.build("cvs", "native_contacts", frames, to="first", beta=500.0, stretch=1.1)
    assert np.allclose(sharper(frames)[:, 0], [1, 0], atol=1e-6)
    assert registry.build("cvs", "native_contacts", frames, to="first", cutoff=0.55).notes[0].startswith("1 native")


def test_native_contacts_use_heavy_atoms_as_published_where_side_chains_are(peptide):
    heavy = registry.build("mappings", "heavy", peptide.topology)
    beads = heavy.beads
    assert not measures.side_chains(beads) and not measures.side_chains(calphas(6))  # alanine has no more than CB
    names = tuple("CG" if k == 8 else name for k, name in enumerate(beads.names))
    beads = dataclasses.replace(beads, names=names)
    x = heavy.positions(peptide.xyz) * 0.3  # shrunk, so that there are contacts
    frames = Frames(beads, x.astype(np.float32), (1,), 1.0, 300.0)
    cv = registry.build("cvs", "native_contacts", frames)
    r = np.linalg.norm(x[0][:, None] - x[0][None], axis=-1)
    apart = np.abs(np.subtract.outer(beads.residues, beads.residues)) > 3
    pairs = np.argwhere(np.triu(apart & (r <= 0.45)))
    assert len(pairs) and cv.notes[0].startswith(f"{len(pairs)} native contacts")
    own = r[pairs[:, 0], pairs[:, 1]]
    assert cv(frames)[0, 0] == pytest.approx(np.mean(1 / (1 + np.exp(50 * (own - 1.8 * own)))), abs=1e-5)


def test_a_structure_without_contacts_is_one_clear_line(peptide_frames):
    with pytest.raises(TooSmall, match=r"no native contact: .* name a folded structure"):
        registry.build("cvs", "native_contacts", peptide_frames)
    with pytest.raises(ValueError, match="auto, ca or all"):
        registry.build("cvs", "native_contacts", peptide_frames, atoms="some")
    with pytest.raises(ValueError, match="expected a frame below"):
        registry.build("cvs", "native_contacts", peptide_frames, to=1000)


def test_contacts_are_counted_and_their_smooth_count_has_the_sharp_one_as_its_limit():
    x = walk(np.random.default_rng(8), 50, 8, step=0.15)
    frames = frames_of(x)
    r = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    apart = np.triu(np.ones((8, 8), bool), 3)
    expected = (r[:, apart] <= 0.8).sum(1)
    assert expected.std() > 0
    assert np.array_equal(registry.build("cvs", "contacts", frames, beta=0)(frames)[:, 0], expected)
    share = registry.build("cvs", "contacts", frames, beta=1e5, share=True)(frames)[:, 0]
    assert np.allclose(share * apart.sum(), expected, atol=0.6) and np.corrcoef(share, expected)[0, 1] > 0.99


# a projection without equilibrium


@pytest.mark.parametrize("name", ["tica", "vamp"])
def test_a_still_reference_is_refused_and_two_conformations_have_one_direction(name):
    two = walk(np.random.default_rng(9), 2, 6, step=0.1)
    with pytest.raises(ValueError, match="does not move"):
        registry.build("cvs", name, frames_of(np.repeat(two[:1], 200, 0)))
    frames = frames_of(two[np.arange(200) // 25 % 2])
    cv = registry.build("cvs", name, frames)
    assert len(cv.labels) == cv.shown == 1 and cv.pairs == ()
    assert len(np.unique(cv(frames).round(4))) == 2


def test_vamp_finds_the_slow_motion_and_agrees_with_tica_in_equilibrium():
    x, bend = hidden_process(np.random.default_rng(3), 20_000)
    frames = frames_of(x, lengths=(12_000, 8_000), dt=2.0)
    cv, tica = (registry.build("cvs", name, frames, lag=40.0) for name in ("vamp", "tica"))
    assert cv.labels[:2] == ("VAMP 1", "VAMP 2") and cv.lag == 20 and cv.pairs == ((0, 1),)
    values = cv(frames)[:, 0]
    assert abs(np.corrcoef(values, bend)[0, 1]) > 0.9
    assert abs(np.corrcoef(values, tica(frames)[:, 0])[0, 1]) > 0.99


def test_vamp_sees_a_cycle_that_equilibrium_would_average_away():
    """A circular drift: its time-lagged covariance is antisymmetric, so TICA finds nothing slow and VAMP all of it."""
    rng = np.random.default_rng(9)
    phase = np.cumsum(0.1 + 0.02 * rng.normal(size=20_000))
    x = np.tile(helix(6), (20_000, 1, 1))
    x[:, 5, 2] += 0.05 * np.cos(phase)
    x[:, 0, 2] -= 0.05 * np.sin(phase)
    frames = frames_of(x + rng.normal(size=x.shape) * 0.002)
    lag = round(np.pi / 2 / 0.1)  # a quarter of a turn
    vamp, tica = (registry.build("cvs", name, frames, lag=float(lag)) for name in ("vamp", "tica"))
    assert vamp.strength[0] > 0.8 and tica.strength[0] < 0.5


def test_vamp_of_weighted_frames_is_one_clear_line():
    x = walk(np.random.default_rng(5), 200, 6)
    with pytest.raises(ValueError, match="VAMP projection needs runs in time order"):
        registry.build("cvs", "vamp", frames_of(x, weights=np.ones(200)))
    with pytest.raises(ValueError, match="VAMP lag must lie"):
        registry.build("cvs", "vamp", frames_of(x), lag=1e6)


# a user's own function


def test_a_file_with_one_function_is_a_collective_variable(tmp_path, peptide_frames):
    path = tmp_path / "ends.py"
    path.write_text(
        "import numpy as np\n"
        "def cv(positions, power=1):\n"
        "    return np.linalg.norm(positions[:, -1] - positions[:, 0], axis=-1) ** power\n"
    )
    x = np.asarray(peptide_frames.positions, float)
    cv = registry.build("cvs", str(path), peptide_frames, power=2)
    assert cv.name == "ends" and cv.labels == ("ends",) and len(cv.notes) == 1
    assert np.allclose(cv(peptide_frames)[:, 0], np.sum((x[:, -1] - x[:, 0]) ** 2, -1), rtol=1e-5)
    with pytest.raises(ValueError, match="its options are: power"):
        registry.build("cvs", str(path), peptide_frames, lag=2)


def test_two_users_files_of_one_name_are_two_functions(tmp_path, peptide_frames):
    built = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "mine.py").write_text(
            f"def cv(positions):\n    return {number} * positions[:, 0, 0]\n"
        )
        built.append(registry.build("cvs", str(tmp_path / str(number) / "mine.py"), peptide_frames))
    assert [cv.name for cv in built] == ["mine", "mine"]
    assert np.allclose(2 * built[0](peptide_frames), built[1](peptide_frames))


def test_a_users_function_may_have_columns_labels_and_a_period(tmp_path, peptide_frames):
    path = tmp_path / "mine.py"
    path.write_text(
        "labels = ('a', 'b')\nunit = 'rad'\nperiod = 6.283185307179586\n"
        "def cv(positions):\n    return positions[:, 0, :2]\n"
    )
    cv = registry.build("cvs", str(path), peptide_frames)
    assert cv.labels == ("a", "b") and cv.unit == "rad" and cv.period == pytest.approx(2 * np.pi)
    assert cv(peptide_frames).shape == (40, 2)
    assert "changes when the molecule is turned" in cv.notes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def cv(positions):\n    return positions\n", "cv must give"),
        ("def cv(positions):\n    return 1.0\n", "cv must give"),
        ("labels = ('a', 'b')\ndef cv(positions):\n    return positions[:, 0, 0]\n", "2 labels for 1 columns"),
        ("def cv(positions):\n    return positions[:, 0, 0] * float('nan')\n", "not finite"),
        ("answer = 42\n", "has no function build"),
    ],
)
def test_a_users_file_that_does_not_fit_is_one_clear_line(tmp_path, peptide_frames, text, words):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        registry.build("cvs", str(path), peptide_frames)
