"""Forces from trajectory files of each format, in the unit that the file states, against the arrays written to it."""

import h5py
import numpy as np
import pytest
from mdtraj.formats import TRRTrajectoryFile
from written_files import write_h5md, write_netcdf, write_trr

from cgsurrogate.core import registry
from cgsurrogate.data import atomic_forces
from cgsurrogate.data.formats import unit_names
from cgsurrogate.data.read import Input, read

CA = registry.builder("mappings", "ca")
KCAL = 41.84  # kJ/mol/nm in kcal/mol/A


@pytest.fixture
def forces(atoms):
    """(40, 62, 3) kJ/mol/nm, of the size of those on atoms."""
    return np.random.default_rng(7).normal(0, 700, atoms.shape).astype(np.float32)


WRITERS = {
    "t.trr": lambda path, xyz, forces: write_trr(path, xyz, forces),
    "t.nc": lambda path, xyz, forces: write_netcdf(path, xyz * 10, forces / KCAL),
    "t.h5md": lambda path, xyz, forces: write_h5md(path, xyz * 10, forces / KCAL),
    "t.h5": lambda path, xyz, forces: write_h5md(path, xyz, forces, ("nm", "kJ mol-1 nm-1")),
}


def refused(pdb, path, **options) -> str:
    with pytest.raises(ValueError) as caught:
        read(Input(pdb, [path], 300, **options), CA)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("name", WRITERS)
def test_forces_are_those_that_were_written_in_kj_mol_nm(name, peptide, peptide_pdb, atoms, forces, tmp_path):
    WRITERS[name](tmp_path / name, atoms, forces)
    frames = read(Input(peptide_pdb, [tmp_path / name], 300, aggregate="basic"), CA)
    mapping = CA(peptide.topology)
    assert frames.dt == 2.0
    np.testing.assert_allclose(frames.positions, mapping.positions(atoms), atol=1e-6)
    np.testing.assert_allclose(frames.forces, mapping.forces(forces), rtol=1e-5, atol=0.02)
    some = read(Input(peptide_pdb, [tmp_path / name], 300, begin=6, stride=3, aggregate="basic"), CA)
    np.testing.assert_array_equal(some.forces, frames.forces[3::3])
    about = frames.provenance.notes["atomic_forces"]
    assert about["root_mean_square"] == pytest.approx(700, rel=0.05) and "as usual" in atomic_forces.sentence(about)
    without = read(Input(peptide_pdb, [tmp_path / name], 300, no_forces=True), CA)
    assert without.forces is None and "atomic_forces" not in without.provenance.notes


@pytest.mark.parametrize("name", WRITERS)
def test_forces_in_a_file_of_their_own_and_in_pieces(name, peptide, peptide_pdb, atoms, forces, tmp_path, monkeypatch):
    WRITERS[name](tmp_path / name, atoms, forces)
    np.save(tmp_path / "x.npy", atoms)
    given = Input(peptide_pdb, [tmp_path / "x.npy"], 300, 2.0, forces=[tmp_path / name], aggregate="basic")
    found = read(given, CA).forces
    np.testing.assert_allclose(found, CA(peptide.topology).forces(forces), rtol=1e-5, atol=0.02)


def test_a_trr_is_read_as_mdtraj_reads_it(peptide, peptide_pdb, atoms, forces, tmp_path):
    count, box = np.arange(40, dtype="f4"), np.tile(np.eye(3, dtype="f4") * 5, (40, 1, 1))
    with TRRTrajectoryFile(str(tmp_path / "t.trr"), "w") as file:  # with velocities between both
        file._write(atoms, count, count.astype("i4"), box, 0 * count, atoms * 3, forces)
    with TRRTrajectoryFile(str(tmp_path / "t.trr")) as file:
        theirs = file._read(40, None, get_velocities=True, get_forces=True)[-1]
    found = read(Input(peptide_pdb, [tmp_path / "t.trr"], 300, aggregate="basic"), CA).forces
    np.testing.assert_allclose(found, CA(peptide.topology).forces(theirs), atol=1e-3)


def test_forces_alone_are_taken_beside_positions(peptide, peptide_pdb, atoms, forces, tmp_path):
    """What Amber writes with ntwf: a file without positions."""
    np.save(tmp_path / "x.npy", atoms)
    write_netcdf(tmp_path / "frc.nc", None, forces / KCAL)
    write_h5md(tmp_path / "f.h5md", None, forces, (None, "kJ mol-1 nm-1"))
    expected = CA(peptide.topology).forces(forces)
    for name in ("frc.nc", "f.h5md"):
        given = Input(peptide_pdb, [tmp_path / "x.npy"], 300, 2.0, forces=[tmp_path / name], aggregate="basic")
        np.testing.assert_allclose(read(given, CA).forces, expected, rtol=1e-5, atol=0.02)
        assert "no positions" in refused(peptide_pdb, tmp_path / name)


def test_a_scale_factor_counts(peptide, peptide_pdb, atoms, forces, tmp_path):
    write_netcdf(tmp_path / "t.nc", atoms * 10, forces / KCAL / 20.455, scale=20.455)
    found = read(Input(peptide_pdb, [tmp_path / "t.nc"], 300, aggregate="basic"), CA).forces
    np.testing.assert_allclose(found, CA(peptide.topology).forces(forces), rtol=1e-5, atol=0.02)


@pytest.mark.parametrize("name", ["t.trr", "t.h5md"])
def test_forces_in_some_frames_are_read_where_the_stride_meets_them(
    name, peptide, peptide_pdb, atoms, forces, tmp_path
):
    write = {"t.trr": write_trr, "t.h5md": write_h5md}[name]
    more = {"units": ("nm", "kJ mol-1 nm-1")} if name == "t.h5md" else {}
    write(tmp_path / name, atoms, forces, every=4, **more)
    text = refused(peptide_pdb, tmp_path / name)
    assert "10 of 40" in text and "--stride 4" in text and "--no-forces" in text
    found = read(Input(peptide_pdb, [tmp_path / name], 300, stride=4, aggregate="basic"), CA)
    np.testing.assert_allclose(found.forces, CA(peptide.topology).forces(forces[::4]), atol=1e-2)


def test_a_unit_that_is_not_stated_is_asked_for(peptide, peptide_pdb, atoms, forces, tmp_path):
    write_netcdf(tmp_path / "t.nc", atoms * 10, forces / KCAL, unit=None)
    text = refused(peptide_pdb, tmp_path / "t.nc")
    assert "--force-unit" in text and "kcal/mol/A" in text and "16." in text
    given = Input(peptide_pdb, [tmp_path / "t.nc"], 300, aggregate="basic", force_unit="kcal/mol/A")
    expected = CA(peptide.topology).forces(forces)
    np.testing.assert_allclose(read(given, CA).forces, expected, rtol=1e-5, atol=0.02)
    write_netcdf(tmp_path / "t.nc", atoms * 10, forces / KCAL, unit="pound")
    assert "'pound'" in refused(peptide_pdb, tmp_path / "t.nc")
    write_h5md(tmp_path / "t.h5md", atoms, forces, (None, "kJ mol-1 nm-1"))
    assert "--length-unit" in refused(peptide_pdb, tmp_path / "t.h5md")
    assert read(Input(peptide_pdb, [tmp_path / "t.h5md"], 300, length_unit="nm"), CA).forces is not None


def test_a_unit_that_contradicts_the_file_or_the_size_of_forces_is_refused(peptide_pdb, atoms, forces, tmp_path):
    write_trr(tmp_path / "t.trr", atoms, forces)
    assert "leave the option out" in refused(peptide_pdb, tmp_path / "t.trr", force_unit="kcal/mol/A")
    assert "unit of force" in refused(peptide_pdb, tmp_path / "t.trr", force_unit="newton")
    np.save(tmp_path / "x.npy", atoms)
    np.save(tmp_path / "f.npy", forces / KCAL)
    of_arrays = {"dt": 2.0, "forces": [tmp_path / "f.npy"]}
    assert "suggests kcal/mol/A" in refused(peptide_pdb, tmp_path / "x.npy", **of_arrays)


def test_arrays_in_angstrom_are_read_where_that_is_said(peptide, peptide_pdb, atoms, tmp_path):
    np.save(tmp_path / "x.npy", atoms * 10)
    assert "--length-unit A" in refused(peptide_pdb, tmp_path / "x.npy", dt=1)
    found = read(Input(peptide_pdb, [tmp_path / "x.npy"], 300, dt=1, length_unit="A"), CA).positions
    np.testing.assert_allclose(found, CA(peptide.topology).positions(atoms), atol=1e-6)


def test_forces_in_one_of_two_files_are_refused(peptide_pdb, atoms, forces, tmp_path):
    write_trr(tmp_path / "a.trr", atoms, forces)
    write_trr(tmp_path / "b.trr", atoms, None)
    with pytest.raises(ValueError, match=r"a.trr has forces and .*b.trr has none; .*--no-forces"):
        read(Input(peptide_pdb, [tmp_path / "a.trr", tmp_path / "b.trr"], 300), CA)
    with pytest.raises(ValueError, match="has no forces"):
        read(Input(peptide_pdb, [tmp_path / "a.trr"], 300, forces=[tmp_path / "b.trr"]), CA)


def test_h5md_is_read_without_links_and_virtual_data_sets(peptide_pdb, atoms, forces, tmp_path):
    write_h5md(tmp_path / "t.h5md", atoms, forces, ("nm", "kJ mol-1 nm-1"))
    for name in ("external", "soft", "virtual", "outside"):
        path = tmp_path / f"{name}.h5md"
        write_h5md(path, atoms, forces, ("nm", "kJ mol-1 nm-1"))
        with h5py.File(path, "a") as file:
            group = file["particles/all/force"]
            del group["value"]
            if name == "external":
                group["value"] = h5py.ExternalLink(str(tmp_path / "t.h5md"), "particles/all/force/value")
            elif name == "soft":
                group["value"] = h5py.SoftLink("/particles/all/position/value")
            elif name == "virtual":
                layout = h5py.VirtualLayout(atoms.shape, "f4")
                layout[:] = h5py.VirtualSource(str(tmp_path / "t.h5md"), "particles/all/force/value", atoms.shape)
                group.create_virtual_dataset("value", layout)
            else:
                group.create_dataset(
                    "value", atoms.shape, "f4", external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
                )
        assert "not read" in refused(peptide_pdb, path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("lost", [1, 1000])
def test_a_file_with_forces_that_is_cut_short_is_one_line(name, lost, peptide_pdb, atoms, forces, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, atoms, forces)
    path.write_bytes(path.read_bytes()[:-lost])
    assert name in refused(peptide_pdb, path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e9])
def test_a_force_that_no_atom_can_feel_is_refused(value, peptide_pdb, atoms, forces, tmp_path):
    forces[7, 8, 1] = value
    write_trr(tmp_path / "t.trr", atoms, forces)
    text = refused(peptide_pdb, tmp_path / "t.trr")
    assert "frame 7" in text and "ALA2-CA" in text


def test_a_file_is_known_by_its_content_where_its_name_says_nothing(peptide, peptide_pdb, atoms, forces, tmp_path):
    """As those of Amber: mdcrd and mdfrc."""
    write_netcdf(tmp_path / "mdcrd", atoms * 10, forces / KCAL)
    write_netcdf(tmp_path / "mdfrc.1", None, forces / KCAL)
    expected = CA(peptide.topology)
    given = Input(peptide_pdb, [tmp_path / "mdcrd"], 300, forces=[tmp_path / "mdfrc.1"], aggregate="basic")
    frames = read(given, CA)
    np.testing.assert_allclose(frames.positions, expected.positions(atoms), atol=1e-6)
    np.testing.assert_allclose(frames.forces, expected.forces(forces), rtol=1e-5, atol=0.02)


def test_a_periodic_box_in_h5md_makes_molecules_whole(peptide, peptide_pdb, atoms, forces, tmp_path):
    wrapped = (atoms + 0.7) % 3.0
    for moving in (True, False):
        write_h5md(tmp_path / "t.h5md", wrapped * 10, forces / KCAL)
        with h5py.File(tmp_path / "t.h5md", "a") as file:
            box = file["particles/all/box"]
            box.attrs["boundary"] = np.array([b"periodic"] * 3)
            box["edges/value" if moving else "edges"] = np.full((40, 3) if moving else 3, 30.0)
        found = read(Input(peptide_pdb, [tmp_path / "t.h5md"], 300), CA).positions
        expected = CA(peptide.topology).positions(atoms)
        inner = [x - x[:, :1] for x in (found, expected)]
        np.testing.assert_allclose(inner[0], inner[1], atol=3e-6)


@pytest.mark.parametrize(
    "text, factor",
    [
        ("kJ/mol/nm", 1),
        ("kJ mol-1 nm-1", 1),
        ("kJ/(mol*nm)", 1),
        ("kilojoules/mole/nanometer", 1),
        ("kJ mol^-1 nm^-1", 1),
        ("amu*nm/ps^2", 1),
        ("kJ/mol/A", 10),
        ("kilocalorie/mole/angstrom", KCAL),
        ("kcal/mol/Å", KCAL),
        ("eV/Angstrom", 964.853321),
        ("hartree/bohr", 49614.75),
    ],
)
def test_a_unit_of_force_is_known_however_it_is_written(text, factor):
    assert unit_names.force(text) == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("text", ["", "kJ/mol", "nm", "kJ/nm", "kJ/mol/nm2", "N", "kJ mol nm ps"])
def test_what_is_no_unit_of_force_is_refused(text):
    with pytest.raises(ValueError, match="unit of force"):
        unit_names.force(text)


@pytest.mark.parametrize("unit", unit_names.FORCES)
def test_the_likely_unit_is_told_by_the_size_of_forces_on_atoms(unit):
    for rms in (450, 700, 1100):  # kJ/mol/nm
        assert unit_names.likely_force(rms / unit_names.force(unit)) == (unit, True)
