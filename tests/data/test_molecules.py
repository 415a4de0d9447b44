"""Groups of trajectories that become one: joined as they are, or weighted for one ensemble out of several."""

import numpy as np
import pytest

from cgsurrogate.core import units
from cgsurrogate.data import molecules
from cgsurrogate.data.mapping import builder
from cgsurrogate.data.molecules import Molecule, read
from cgsurrogate.data.read import Input

CA = builder("ca")
COLD, HOT = 300.0, 360.0
STIFF = 200.0  # kJ/mol/nm^2


@pytest.fixture
def shifted(peptide, peptide_pdb, tmp_path):
    """Makes a group whose frames are the peptide, moved by ``x`` (R, T) nm along the first axis."""

    def make(name, x, temperature=COLD, **more):
        xyz = np.repeat(np.repeat(peptide.xyz[None], x.shape[1], 1), x.shape[0], 0)
        xyz[..., 0] += x[..., None]
        np.save(tmp_path / f"{name}.npy", xyz.astype(np.float32))
        for key in ("energies", "bias"):
            if key in more:
                np.save(tmp_path / f"{name}-{key}.npy", more[key])
                more[key] = (f"{tmp_path}/{name}-{key}.npy:kJ/mol",)
        return Input(peptide_pdb, (f"{tmp_path}/{name}.npy",), temperature, dt=1.0, **more)

    return make


def place(frames, peptide):
    return frames.positions[:, 0, 0] - CA(peptide.topology).positions(peptide.xyz)[0, 0, 0]


def well(rng, kelvin, runs=2, count=1500):
    return rng.normal(0, np.sqrt(units.thermal_energy(kelvin) / STIFF), (runs, count))


def test_wells_at_several_temperatures_give_that_of_another(shifted, peptide):
    rng = np.random.default_rng(0)
    groups = []
    for kelvin in (COLD, 330.0, HOT):
        x = well(rng, kelvin)
        groups.append(shifted(f"{kelvin:g}", x, kelvin, energies=STIFF * x**2 / 2 - 4e4))
    for wanted in (280.0, COLD, 345.0):
        frames = read(Molecule("well", "ca", wanted, tuple(groups)), CA)
        assert frames.temperature == wanted and len(frames.lengths) == 6 and not frames.time_ordered
        square = frames.probabilities @ place(frames, peptide) ** 2
        assert square * STIFF == pytest.approx(units.thermal_energy(wanted), rel=0.04)
    about = frames.provenance.notes[molecules.NOTE]
    assert about["states"] == ["300 K", "330 K", "360 K"] and 1000 < about["effective"] <= len(frames)
    assert "count as" in molecules.sentences(frames)[0]


def test_windows_of_umbrella_sampling_give_the_density_without_them(shifted, peptide):
    """A double well of 5 kT, sampled exactly in windows along it by drawing from a grid."""
    rng, kT = np.random.default_rng(1), units.thermal_energy(COLD)
    grid = np.linspace(-0.45, 0.45, 4001)

    def potential(x):
        return 5 * kT * ((x / 0.25) ** 2 - 1) ** 2 + 4.0 * x

    centres = np.linspace(-0.35, 0.35, 8)
    spring = 400.0

    def drawn(centre):
        density = np.exp(-(potential(grid) + spring * (grid - centre) ** 2 / 2) / kT)
        return rng.choice(grid, 800, p=density / density.sum())

    x = np.stack([drawn(centre) for centre in centres])
    bias = spring * (x[..., None] - centres) ** 2 / 2  # (runs, frames, windows)
    frames = read(Molecule("umbrella", "ca", COLD, (shifted("u", x, bias=bias),)), CA)
    density = np.exp(-potential(grid) / kT)
    for edge in (-0.2, 0.0, 0.2):
        exact = density[grid < edge].sum() / density.sum()
        assert frames.probabilities[place(frames, peptide) < edge].sum() == pytest.approx(exact, abs=0.03)
    halves = (shifted("a", x[:4], bias=bias[:4]), shifted("b", x[4:], bias=bias[4:]))  # windows count on
    np.testing.assert_allclose(read(Molecule("umbrella", "ca", COLD, halves), CA).weights, frames.weights, rtol=1e-6)
    named = (shifted("c", x[::-1], bias=bias[::-1], windows=tuple(range(7, -1, -1))),)
    again = read(Molecule("umbrella", "ca", COLD, named), CA).weights
    np.testing.assert_allclose(np.sort(again), np.sort(frames.weights), rtol=1e-5)


def test_ensembles_that_do_not_overlap_are_refused_with_the_place_and_the_remedy(shifted):
    rng = np.random.default_rng(2)
    x = well(rng, COLD)
    groups = [
        shifted("cold", x, COLD, energies=3000 * x / x.std() / 100),
        shifted("hot", x, HOT, energies=900 + 3000 * x / x.std() / 100),
    ]
    with pytest.raises(ValueError, match=r"nothing joins 300 K and 360 K.*simulate between them"):
        read(Molecule("far", "ca", COLD, tuple(groups)), CA)


def test_groups_at_one_temperature_are_put_together(shifted, dipeptide_pdb, tmp_path):
    rng = np.random.default_rng(3)
    plain = [shifted("one", well(rng, COLD, 1, 30)), shifted("two", well(rng, COLD, 2, 20))]
    frames = read(Molecule("both", "ca", COLD, tuple(plain)), CA)
    assert frames.lengths == (30, 20, 20) and frames.weights is None and frames.time_ordered
    np.save(tmp_path / "w.npy", np.r_[np.ones(10), np.zeros(20)])
    weighted = Input(plain[0].topology, plain[0].trajectories, COLD, dt=1.0, weights=(f"{tmp_path}/w.npy",))
    frames = read(Molecule("both", "ca", COLD, (weighted, plain[1])), CA)
    assert frames.probabilities[:30].sum() == pytest.approx(10 / 50)  # ten effective frames, and forty
    for other, message in (
        (
            shifted("hot", well(rng, HOT, 1, 30), HOT),
            "sampled at 300 and 360 K, and 300 K are wanted: give the potential",
        ),
        (Input(plain[1].topology, plain[1].trajectories, COLD, dt=2.0), "2 and 1 ps apart"),
    ):
        with pytest.raises(ValueError, match=message):
            read(Molecule("both", "ca", COLD, (plain[0], other)), CA)


def test_energies_of_gromacs_come_with_unit_and_times(shifted, peptide, peptide_pdb, tmp_path):
    import mdtraj

    rng = np.random.default_rng(4)
    groups = []
    for kelvin in (COLD, HOT):
        x = well(rng, kelvin, 1, 400)[0]
        xyz = np.repeat(peptide.xyz, 400, 0)
        xyz[..., 0] += x[:, None]
        path = tmp_path / f"{kelvin:g}.xtc"
        mdtraj.Trajectory(xyz, peptide.topology, time=np.arange(400) * 2.0).save(str(path))
        rows = "\n".join(f"{0.002 * i:.6f} {STIFF * v**2 / 2:.6f} {kelvin:.1f}" for i, v in enumerate(x))
        (tmp_path / f"{kelvin:g}.xvg").write_text(
            '# by hand\n@    xaxis  label "Time (ns)"\n@    yaxis  label "(kJ/mol), (K)"\n@ s0 legend "Potential"\n'
            f'@ s1 legend "Temperature"\n{rows}\n'
        )
        energies = (f"{tmp_path}/{kelvin:g}.xvg:Potential",)
        groups.append(Input(peptide_pdb, (path,), kelvin, energies=energies, begin=100.0, stride=2))
    frames = read(Molecule("well", "ca", COLD, tuple(groups)), CA)
    square = frames.probabilities @ place(frames, peptide) ** 2
    assert frames.lengths == (175, 175) and square * STIFF == pytest.approx(units.thermal_energy(COLD), rel=0.2)
    first = Input(peptide_pdb, groups[0].trajectories, HOT, energies=(f"{tmp_path}/300.xvg:Pressure",))
    with pytest.raises(ValueError, match=r"300.xvg has no column 'Pressure'; it has Potential, Temperature"):
        read(Molecule("well", "ca", COLD, (first,)), CA)


def test_a_selection_maps_whole_residues_of_all_atoms(peptide):
    every, some = (
        builder("backbone")(peptide.topology),
        builder("backbone", "resSeq 3 to 5 and name CA")(peptide.topology),
    )
    names = [f"{residue}" for residue in peptide.topology.residues if 3 <= residue.resSeq <= 5]
    assert len(set(some.beads.residues)) == len(names) == 3 and some.weights.shape[1] == every.weights.shape[1]
    held = np.isin(every.positions(peptide.xyz)[0].round(5), some.positions(peptide.xyz)[0].round(5)).all(1)
    assert held.sum() == len(some.beads)
    for wrong, message in (("resSeq 99", "holds no atom"), ("nonsense (", "expected a selection of mdtraj")):
        with pytest.raises(ValueError, match=message):
            builder("backbone", wrong)(peptide.topology)
