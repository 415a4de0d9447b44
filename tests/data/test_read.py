"""Reading, checking and writing trajectories."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgsurrogate.core import registry, units
from cgsurrogate.data import examples, validation
from cgsurrogate.data.export import beads_from_topology, export, load_any, pdb_text
from cgsurrogate.data.formats import parsing
from cgsurrogate.data.formats.sources import Reader, sources
from cgsurrogate.data.read import Input, read

BACKBONE = registry.builder("mappings", "backbone")
CA = registry.builder("mappings", "ca")


@pytest.fixture
def trajectory(peptide, atoms):
    """40 frames, 2 ps apart."""
    return mdtraj.Trajectory(atoms, peptide.topology, time=np.arange(40) * 2.0)


@pytest.fixture
def xtc(trajectory, tmp_path):
    """These frames as a file; XTC rounds to 0.001 nm."""
    trajectory.save(str(tmp_path / "t.xtc"))
    return tmp_path / "t.xtc"


@pytest.fixture
def npy(atoms, tmp_path):
    """Their coordinates as an array."""
    np.save(tmp_path / "x.npy", atoms)
    return tmp_path / "x.npy"


def read_ca(pdb, *paths, **options):
    return read(Input(pdb, paths, 300, **options), CA)


def refusal(*arguments, error=ValueError, **options) -> str:
    """The one line with which ``read_ca`` refuses."""
    with pytest.raises(error) as caught:
        read_ca(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


# formats


@pytest.mark.parametrize("ending, rounding", [("xtc", 6e-4), ("trr", 1e-6), ("dcd", 1e-6), ("nc", 1e-6), ("pdb", 6e-5)])
def test_every_format_gives_the_same_beads(trajectory, peptide, peptide_pdb, atoms, tmp_path, ending, rounding):
    path = tmp_path / f"t.{ending}"
    trajectory.save(str(path))
    frames = read(Input(peptide_pdb, [path], 300, 2.0 if ending in ("dcd", "pdb") else None), BACKBONE)
    assert frames.dt == 2.0 and frames.lengths == (40,) and frames.temperature == 300
    np.testing.assert_allclose(frames.positions, BACKBONE(peptide.topology).positions(atoms), atol=rounding)


def test_hdf5_is_read_without_pickles_and_links(peptide, peptide_pdb, atoms, tmp_path):
    import h5py

    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["coordinates"], file["time"] = atoms, np.arange(len(atoms)) * 2.0
    frames = read_ca(peptide_pdb, tmp_path / "t.h5")
    np.testing.assert_allclose(frames.positions, CA(peptide.topology).positions(atoms), atol=1e-7)
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["coordinates"] = h5py.ExternalLink(str(tmp_path / "t.h5"), "coordinates")
    assert "linked.h5" in refusal(peptide_pdb, tmp_path / "linked.h5", dt=1)


def test_arrays_in_nm_are_runs(peptide_pdb, npy, atoms, tmp_path):
    np.savez(tmp_path / "two.npz", x=np.stack([atoms, atoms]), y=atoms)
    assert read_ca(peptide_pdb, npy, dt=1).lengths == (40,)
    two = read_ca(peptide_pdb, f"{tmp_path / 'two.npz'}:x", dt=1)
    assert two.lengths == (40, 40)
    np.testing.assert_array_equal(two.positions[:40], two.positions[40:])


def test_chunks_do_not_change_what_is_read(monkeypatch, trajectory, peptide_pdb, xtc, npy):
    (source,) = sources(xtc, trajectory.topology)
    whole = read_ca(peptide_pdb, npy, dt=2, stride=3)
    monkeypatch.setattr("cgsurrogate.data.formats.sources.CHUNK_BYTES", 62 * 12 * 4)
    np.testing.assert_array_equal(read_ca(peptide_pdb, npy, dt=2, stride=3).positions, whole.positions)
    with Reader() as reader:
        parts = [xyz for xyz, _ in reader.blocks(source, np.array([3, 1]), range(5, 31, 4))]
        again = [xyz for xyz, _ in reader.blocks(source, np.array([3, 1]), range(40))]  # the same process serves more
    np.testing.assert_allclose(np.concatenate(parts), trajectory.xyz[5:31:4][:, [3, 1]], atol=6e-4)
    assert sum(map(len, again)) == 40


# time


def test_begin_end_and_stride_choose_frames(trajectory, peptide_pdb, tmp_path):
    trajectory.time = trajectory.time + 100.0
    trajectory.save(str(tmp_path / "t.trr"))
    every = read_ca(peptide_pdb, tmp_path / "t.trr")
    some = read_ca(peptide_pdb, tmp_path / "t.trr", begin=110, end=150, stride=5)
    assert some.dt == 10.0
    np.testing.assert_array_equal(some.positions, every.positions[5:26:5])
    assert "at least two" in refusal(peptide_pdb, tmp_path / "t.trr", begin=1000)


def test_files_without_times_need_dt_and_dt_overrides(trajectory, peptide_pdb, xtc, tmp_path):
    trajectory.save(str(tmp_path / "t.dcd"))
    assert "give --dt" in refusal(peptide_pdb, tmp_path / "t.dcd")
    assert read_ca(peptide_pdb, xtc, dt=5).dt == 5.0


def test_uneven_times_and_different_files_are_refused(trajectory, peptide_pdb, xtc, tmp_path):
    trajectory.time = np.arange(40) * 3.0
    trajectory.save(str(tmp_path / "slow.xtc"))
    trajectory.time = np.where(np.arange(40) < 20, trajectory.time, trajectory.time + 50)
    trajectory.save(str(tmp_path / "uneven.xtc"))
    text = refusal(peptide_pdb, xtc, tmp_path / "slow.xtc")
    assert "2 ps" in text and "3 ps" in text
    assert "between frames 19 and 20" in refusal(peptide_pdb, tmp_path / "uneven.xtc")


def test_long_times_in_single_precision_are_even(trajectory, peptide_pdb, tmp_path):
    trajectory.time = 1e6 + np.arange(40) * 0.2
    trajectory.save(str(tmp_path / "t.xtc"))
    assert read_ca(peptide_pdb, tmp_path / "t.xtc").dt == pytest.approx(0.2, rel=1e-2)


# forces and weights


def test_forces_of_any_precision_are_mapped(peptide, peptide_pdb, npy, atoms, tmp_path):
    forces = np.random.default_rng(0).normal(0, 500, atoms.shape)
    expected = CA(peptide.topology).forces(forces)
    for kind, tolerance in ((np.float64, 1e-3), (np.float16, 3.0)):
        np.save(tmp_path / "f.npy", forces.astype(kind))
        frames = read_ca(peptide_pdb, npy, dt=1, forces=[tmp_path / "f.npy"], stride=3)
        np.testing.assert_allclose(frames.forces, expected[::3], atol=tolerance)


def test_rows_of_one_array_go_to_the_trajectories(peptide_pdb, atoms, tmp_path):
    paths = [tmp_path / f"x{i}.npy" for i in range(3)]
    for i, path in enumerate(paths):
        np.save(path, atoms + i)
    weights = np.arange(1.0, 121).reshape(3, 40)
    np.savez(tmp_path / "w.npz", w=weights, forces=np.stack([np.full_like(atoms, i) for i in range(3)]))
    of_all = {name: [f"{tmp_path / 'w.npz'}:{array}"] for name, array in (("weights", "w"), ("forces", "forces"))}
    of_all["force_unit"] = "kJ/mol/nm"
    frames = read_ca(peptide_pdb, *paths, dt=1, aggregate="basic", **of_all)
    np.testing.assert_array_equal(frames.weights, weights.ravel())
    assert [float(frames.forces[run].std()) for run in frames.runs] == [0, 0, 0]
    assert frames.forces[frames.runs[2]].mean() == pytest.approx(2 * frames.forces[frames.runs[1]].mean())


def test_rows_follow_the_numbers_of_files_that_a_shell_sorted(peptide_pdb, atoms, tmp_path):
    for i in range(11):
        np.save(tmp_path / f"w_{i}.npy", atoms + i)
    np.save(tmp_path / "weights.npy", np.arange(11.0)[:, None] + np.zeros((11, 40)))
    shell = sorted(tmp_path.glob("w_*.npy"))
    with pytest.warns(UserWarning, match=r"w_2.npy before w_10.npy|order of their numbers"):
        frames = read_ca(peptide_pdb, *shell, dt=1, weights=[tmp_path / "weights.npy"])
    centre = [float(frames.positions[run].mean()) for run in frames.runs]
    assert np.all(np.diff(centre) > 0) and [frames.weights[run][0] for run in frames.runs] == list(range(11))


def test_a_declared_bias_becomes_weights_over_all_runs(peptide_pdb, atoms, tmp_path):
    np.save(tmp_path / "x.npy", np.stack([atoms, atoms]))
    bias = np.random.default_rng(0).normal(0, 5, (2, 40))
    np.savez(tmp_path / "b.npz", rbias=bias)
    frames = read_ca(peptide_pdb, tmp_path / "x.npy", dt=1, weights=[f"{tmp_path / 'b.npz'}:rbias:kJ/mol"])
    expected = np.exp(bias / units.thermal_energy(300)).ravel()
    np.testing.assert_allclose(frames.probabilities, expected / expected.sum(), rtol=1e-9)
    assert "kJ/mol" in refusal(peptide_pdb, tmp_path / "x.npy", dt=1, weights=[f"{tmp_path / 'b.npz'}:rbias"])


def test_the_optimal_aggregation_is_measured_and_needs_forces(peptide, peptide_pdb, atoms, tmp_path):
    np.save(tmp_path / "x.npy", np.concatenate([atoms] * 10))
    rng = np.random.default_rng(0)
    forces = rng.normal(0, 1, (400, 62, 3))
    for a, b in peptide.topology.bonds:
        pull = rng.normal(0, 30, (400, 3))
        forces[:, a.index] += pull
        forces[:, b.index] -= pull
    np.save(tmp_path / "f.npy", forces)
    assert "--forces" in refusal(peptide_pdb, tmp_path / "x.npy", dt=1, aggregate="optimal")
    options = {"aggregate": "optimal", "force_unit": "kJ/mol/nm"}
    frames = read_ca(peptide_pdb, tmp_path / "x.npy", dt=1, forces=[tmp_path / "f.npy"], **options)
    noise = frames.provenance.mean_square_force
    assert noise["optimal"] < 0.5 * noise["basic"] and noise["used"] == frames.provenance.aggregate == "optimal"
    assert noise["slice"] > 0 and noise["frames"] == 80
    options["aggregate"] = "basic"
    basic = read_ca(peptide_pdb, tmp_path / "x.npy", dt=1, forces=[tmp_path / "f.npy"], **options).forces
    assert (frames.forces**2).mean() < 0.5 * (basic**2).mean()


# bad input: one clear line


def changed(where, value):
    """What adds a value to some of the coordinates."""

    def change(x):
        x = x.copy()
        x[where] += value
        return x

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (changed((7, 4, 1), np.nan), "frame 7, atom ACE1-C"),
        (lambda x: x * 10, "Angstrom"),
        (changed((3, slice(30, None)), 4.0), "apart in frame 3"),
        (lambda x: x[:, np.random.default_rng(0).permutation(x.shape[1])], "right topology"),
        (lambda x: x[:1], "at least two"),
        (lambda x: x[:, :-1], "61 atoms and the topology 62"),
        (lambda x: x[:, :, :2], "expected coordinates"),
    ],
)
def test_bad_coordinates_are_one_line(change, message, peptide_pdb, atoms, tmp_path):
    np.save(tmp_path / "x.npy", change(atoms))
    text = refusal(peptide_pdb, tmp_path / "x.npy", dt=1)
    assert message in text and "x.npy" in text


def test_missing_files_are_named(peptide_pdb, npy):
    absent = npy.with_name("absent")
    for pdb, path, options in (
        (absent.with_suffix(".pdb"), npy, {}),
        (peptide_pdb, absent.with_suffix(".xtc"), {}),
        (peptide_pdb, absent.with_suffix(".npy"), {}),
        (peptide_pdb, npy, {"forces": [absent.with_suffix(".npy")]}),
    ):
        assert "absent" in refusal(pdb, path, dt=1, error=FileNotFoundError, **options)


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "nc", "h5", "gro", "npy", "npz", "xyz"])
def test_a_file_of_another_kind_is_one_line(peptide_pdb, tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    for content in (b"this is no trajectory at all\n" * 20, b""):
        path.write_bytes(content)
        assert path.name in refusal(peptide_pdb, path, dt=1)


@pytest.mark.parametrize("name", ["t.pdb", "t.gro", "t.cif", "t.h5", "t.what"])
def test_a_topology_that_is_none_is_one_line(npy, name):
    npy.with_name(name).write_text("nothing\n")
    assert name in refusal(npy.with_name(name), npy, dt=1)


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "nc"])
@pytest.mark.parametrize("lost", [1, 100, 1000])
def test_a_file_cut_short_is_refused(trajectory, peptide_pdb, tmp_path, ending, lost):
    path = tmp_path / f"t.{ending}"
    trajectory.save(str(path))
    path.write_bytes(path.read_bytes()[:-lost])
    assert path.name in refusal(peptide_pdb, path, dt=1)


def test_a_damaged_file_is_an_error_here_and_not_the_end_of_the_interpreter(peptide_pdb, xtc):
    """Flipped bytes: right beads, or one line. The parser's process may die, this one may not."""
    data, rng, refused = xtc.read_bytes(), np.random.default_rng(0), 0
    for _ in range(6):
        changed = bytearray(data)
        for place in rng.integers(92, len(data), 40):
            changed[place] ^= int(rng.integers(1, 256))
        xtc.write_bytes(bytes(changed))
        try:
            read_ca(peptide_pdb, xtc, dt=1)
        except ValueError as error:
            assert "t.xtc" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused


def test_a_parser_that_dies_is_one_line(monkeypatch, peptide, xtc):
    xtc.with_name("parser_process.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr("cgsurrogate.data.formats.parsing.PROGRAM", xtc.with_name("parser_process.py"))
    monkeypatch.setattr("cgsurrogate.data.formats.parsing._idle", [])
    text = refusal(peptide.topology, xtc)
    assert "SIGSEGV" in text and "t.xtc" in text


def test_a_parser_that_dies_after_other_files_says_nothing_about_this_one(monkeypatch, peptide_pdb, xtc):
    """Another file may have harmed its memory: a process that has read nothing else decides."""
    idle: list = []
    monkeypatch.setattr("cgsurrogate.data.formats.parsing._idle", idle)
    expected = read_ca(peptide_pdb, xtc, dt=1).positions
    (_, process, _) = idle[-1]
    os.kill(process.pid, signal.SIGSTOP)  # it still lives when the next file is asked for
    threading.Timer(0.5, process.kill).start()
    np.testing.assert_array_equal(read_ca(peptide_pdb, xtc, dt=1).positions, expected)
    assert process.returncode == -signal.SIGKILL


def test_a_process_whose_parser_failed_reads_no_other_file(monkeypatch, tmp_path):
    idle: list = []
    monkeypatch.setattr("cgsurrogate.data.formats.parsing._idle", idle)
    damaged = tmp_path / "t.h5"
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(ValueError, match=r"t\.h5 cannot be read"), parsing.Parser() as parser:
        parser.found("header", damaged, kind="hdf5", recover=False, all_atoms=0)
    assert not idle


def test_a_parser_ends_soon_after_its_command_was_killed(tmp_path):
    """In the middle of a file: a pipe into which nobody writes."""
    os.mkfifo(tmp_path / "endless.xtc")
    words = """if True:
        import pathlib, sys
        from cgsurrogate.data.formats.parsing import Parser
        with Parser() as parser:
            print(parser._process.pid, flush=True)
            parser.found("header", pathlib.Path(sys.argv[1]), kind="xtc", recover=False, all_atoms=3)
    """
    words = [sys.executable, "-c", words, str(tmp_path / "endless.xtc")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        parser = int(command.stdout.readline())
        time.sleep(2)  # the parser is then at the file, or will find nobody when it begins
        command.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{parser}/cmdline").exists() and Path(f"/proc/{parser}/cmdline").read_bytes():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("forces", np.ones((39, 62, 3)), "39 frames, the trajectory has 40"),
        ("forces", np.ones((40, 61, 3)), "(T, 62, 3)"),
        ("forces", np.full((40, 62, 3), np.nan), "forces are not finite, first in frame 0"),
        ("weights", np.ones(41), "41 frames"),
        ("weights", np.ones((40, 2)), "weights"),
        ("weights", np.full(40, np.nan), "not finite"),
        ("weights", -np.ones(40), "kJ/mol"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(peptide_pdb, npy, name, array, message):
    np.save(npy.with_name("a.npy"), array)
    assert message in refusal(peptide_pdb, npy, dt=1, **{name: [npy.with_name("a.npy")]})


def test_an_array_file_of_objects_is_refused(peptide_pdb, npy):
    np.save(npy, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "x.npy" in refusal(peptide_pdb, npy, dt=1)


# periodic boxes


@pytest.mark.parametrize("angles", [(90, 90, 90), (60, 60, 90)])
def test_a_molecule_cut_by_the_box_is_made_whole(peptide, peptide_pdb, atoms, tmp_path, angles):
    trajectory = mdtraj.Trajectory(
        atoms, peptide.topology, unitcell_lengths=np.full((40, 3), 3.0), unitcell_angles=np.tile(angles, (40, 1))
    )
    cell = trajectory.unitcell_vectors.astype(float)
    fraction = np.einsum("tad,tde->tae", atoms.astype(float) + 0.7, np.linalg.inv(cell))
    trajectory.xyz = np.einsum("tad,tde->tae", fraction % 1, cell)
    bonds = np.array([(a.index, b.index) for a, b in peptide.topology.bonds])
    assert np.linalg.norm(trajectory.xyz[:, bonds[:, 0]] - trajectory.xyz[:, bonds[:, 1]], axis=-1).max() > 0.5
    trajectory.save(str(tmp_path / "t.trr"))
    found = read(Input(peptide_pdb, [tmp_path / "t.trr"], 300, dt=1), BACKBONE).positions
    expected = BACKBONE(peptide.topology).positions(atoms)
    inner = [x - x[:, :1] for x in (found, expected)]
    np.testing.assert_allclose(inner[0], inner[1], atol=2e-6)


# out and in again


@pytest.mark.parametrize("ending", ["xtc", "trr", "nc"])
def test_export_and_import_give_the_frames_back(peptide_frames, tmp_path, ending):
    made = export(peptide_frames, tmp_path / f"t.{ending}")
    assert [path.name for path in made] == [f"t.{ending}", "t.pdb"]
    back = load_any(made[0], like=peptide_frames)
    assert all(getattr(back, name) == getattr(peptide_frames, name) for name in ("lengths", "dt", "beads"))
    np.testing.assert_allclose(back.positions, peptide_frames.positions, atol=6e-4)


def test_exported_files_are_what_mdtraj_reads(peptide_frames, tmp_path):
    xtc, pdb = export(peptide_frames, tmp_path / "t.xtc")
    trajectory = mdtraj.load(str(xtc), top=str(pdb))
    np.testing.assert_allclose(trajectory.xyz, peptide_frames.positions, atol=6e-4)
    np.testing.assert_allclose(mdtraj.load(str(pdb)).xyz[0], peptide_frames.positions[0], atol=6e-5)
    alone = load_any(xtc, temperature=300)
    assert dataclasses.replace(alone.beads, masses=peptide_frames.beads.masses) == peptide_frames.beads


def test_alpha_carbons_keep_their_bonds_in_a_pdb(peptide, peptide_frames, tmp_path):
    mapping = CA(peptide.topology)
    frames = dataclasses.replace(
        peptide_frames, beads=mapping.beads, positions=mapping.positions(np.repeat(peptide.xyz, 40, 0)), forces=None
    )
    _, pdb = export(frames, tmp_path / "t.xtc")
    assert beads_from_topology(mdtraj.load_topology(str(pdb))).bonds == mapping.beads.bonds


def test_runs_can_go_to_files_of_their_own(peptide_frames, tmp_path):
    made = export(peptide_frames, tmp_path / "t.dcd", split_runs=True)
    assert [path.name for path in made] == ["t.0.dcd", "t.1.dcd", "t.pdb"]
    back = load_any(made[:-1], made[-1], like=peptide_frames, dt=2.0)
    assert back.lengths == peptide_frames.lengths
    np.testing.assert_allclose(back.positions, peptide_frames.positions, atol=1e-6)


def test_all_atom_files_are_mapped_on_import(peptide_frames, peptide_pdb, xtc):
    back = load_any(xtc, peptide_pdb, like=peptide_frames, build=BACKBONE)
    np.testing.assert_allclose(back.positions, peptide_frames.positions, atol=6e-4)
    with pytest.raises(ValueError, match="62 atoms, the reference 30 beads"):
        load_any(xtc, peptide_pdb, like=peptide_frames)
    with pytest.raises(ValueError, match="other beads"):
        load_any(xtc, peptide_pdb, like=peptide_frames, build=CA)


def test_a_topology_that_is_missed_is_asked_for(peptide_frames, tmp_path):
    with pytest.raises(FileNotFoundError, match="-s"):
        load_any(tmp_path / "t.xtc", like=peptide_frames)


def test_nothing_is_left_of_an_export_that_fails(peptide_frames, tmp_path):
    broken = peptide_frames.positions.copy()
    broken[30] = np.nan
    np.save(tmp_path / "x.npy", broken)
    frames = dataclasses.replace(peptide_frames, positions=np.load(tmp_path / "x.npy", mmap_mode="r"))
    with pytest.raises(ValueError, match="not finite"):
        export(frames, tmp_path / "out" / "t.xtc")
    with pytest.raises(ValueError, match=r"\.xtc"):
        export(frames, tmp_path / "out" / "t.what")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_topology_of_two_chains_has_two_chains(peptide, tmp_path):
    beads = CA(peptide.topology.join(peptide.topology)).beads
    (tmp_path / "two.pdb").write_text(pdb_text(beads, np.arange(30.0).reshape(10, 3)))
    topology = mdtraj.load(str(tmp_path / "two.pdb")).topology
    assert topology.n_chains == 2 and topology.n_atoms == 10 and topology.n_bonds == len(beads.bonds)


# embedded examples


@pytest.mark.parametrize("entry", examples.examples(), ids=lambda entry: entry.name)
def test_every_embedded_example_is_read_whole(entry):
    frames = examples.load_example(entry.name, BACKBONE, aggregate="basic")
    assert len(frames.lengths) == len(entry.trajectories) >= 2 and frames.provenance.example == entry.name
    assert frames.dt == entry.dt and frames.temperature == entry.temperature and entry.command and entry.licence
    forces = BACKBONE(mdtraj.load_topology(str(entry.topology))).forces(np.load(entry.forces[1]))
    np.testing.assert_allclose(frames.forces[frames.runs[1]], forces, rtol=1e-5, atol=1e-3)


def test_runs_of_an_example_are_in_the_order_of_their_numbers(tmp_path):
    for run in (10, 0, 1):
        (tmp_path / f"run{run}.xtc").touch()
    entry = dataclasses.replace(examples.examples()[0], folder=tmp_path)
    assert [path.stem for path in entry.trajectories] == ["run0", "run1", "run10"]


def test_an_example_is_written_where_nothing_else_is(tmp_path):
    made = examples.write_example("alanine-dipeptide", tmp_path / "out")
    assert made == examples.write_example("alanine-dipeptide", tmp_path / "out")  # again changes nothing
    folder = examples.find("alanine-dipeptide").folder
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in made)
    made[0].write_text("mine")
    with pytest.raises(ValueError, match="another file"):
        examples.write_example("alanine-dipeptide", tmp_path / "out")
    with pytest.raises(ValueError, match="alanine-dipeptide"):
        examples.find("other")


def test_runs_are_mapped_alike_whatever_number_is_read_at_once(monkeypatch, peptide, atoms, tmp_path):
    peptide.save(str(tmp_path / "top.pdb"))
    files = [tmp_path / f"run{k}.xtc" for k in range(5)]
    for k, file in enumerate(files):
        mdtraj.Trajectory(atoms[8 * k : 8 * k + 5 + k % 3], peptide.topology).save(str(file))
    found = []
    for count in (1, 4):
        monkeypatch.setattr("cgsurrogate.data.map_runs.cores", lambda count=count: count)
        told: list[tuple[int, int | None]] = []
        given = Input(tmp_path / "top.pdb", files, 300.0, dt=1.0)
        found.append(read(given, registry.builder("mappings", "ca"), lambda *done, told=told: told.append(done)))
        assert told[-1] == (len(found[-1]),) * 2 and told == sorted(told)
    assert found[0].lengths == found[1].lengths == (5, 6, 7, 5, 6)
    assert np.array_equal(found[0].positions, found[1].positions)
    files[3].write_bytes(files[3].read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"run3.xtc is cut short"):
        read(given, registry.builder("mappings", "ca"))


def test_one_absurd_time_does_not_excuse_the_others():
    times = np.arange(20) * 2.0
    times[11] = 1e302
    with pytest.raises(ValueError, match=r"t\.h5 states that its frames are 2 ps apart and last 1e"):
        validation.spacing("t.h5", times, None)
