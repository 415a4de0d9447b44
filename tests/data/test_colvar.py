"""Weights and bias energies from COLVAR files of PLUMED, matched to frames."""

import mdtraj
import numpy as np
import pytest

from cgsurrogate.core import registry, units
from cgsurrogate.data.formats import parsing
from cgsurrogate.data.frame_weights import file_of
from cgsurrogate.data.read import Input, read

CA = registry.builder("mappings", "ca")
KT = units.thermal_energy(300)


@pytest.fixture
def run(peptide, atoms, tmp_path):
    """40 frames, 2 ps apart, from 10 ps on."""
    mdtraj.Trajectory(atoms, peptide.topology, time=10 + np.arange(40) * 2.0).save(str(tmp_path / "t.xtc"))
    return tmp_path / "t.xtc"


def write(path, times, **columns):
    lines = [f"#! FIELDS time {' '.join(columns)}", "#! SET min_phi -pi"]
    lines += [" ".join(f"{x:.6f}" for x in row) for row in zip(times, *columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def bias_at(times):
    return 5 * np.sin(np.asarray(times) / 7)


def probabilities(values):
    return np.exp(values - values.max()) / np.exp(values - values.max()).sum()


def test_rows_belong_to_the_frames_of_their_time(run, peptide_pdb):
    times = np.arange(0, 120, 0.5)
    colvar = write(run.with_name("COLVAR"), times, phi=0 * times, **{"metad.rbias": bias_at(times)})
    for unit, factor in (("kJ/mol", 1), ("kcal/mol", 4.184), ("kT", KT)):
        frames = read(Input(peptide_pdb, [run], 300, weights=[f"{colvar}:metad.rbias:{unit}"], stride=3), CA)
        expected = probabilities(factor * bias_at(10 + 2.0 * np.arange(0, 40, 3)) / KT)
        np.testing.assert_allclose(frames.probabilities, expected, rtol=1e-4)
    assert file_of(f"{colvar}:metad.rbias:kJ/mol") == colvar


def test_a_run_that_was_continued_counts_once(run, peptide_pdb):
    """PLUMED writes its header again, and rows of the steps after the checkpoint a second time."""
    first, again = np.arange(0, 70, 2.0), np.arange(60, 92, 2.0)
    text = write(run.with_name("COLVAR"), first, b=np.where(first > 59, 99, bias_at(first))).read_text()
    colvar = write(run.with_name("COLVAR"), again, b=bias_at(again))
    colvar.write_text(text + colvar.read_text())
    frames = read(Input(peptide_pdb, [run], 300, weights=[f"{colvar}:b:kJ/mol"]), CA)
    np.testing.assert_allclose(frames.probabilities, probabilities(bias_at(10 + 2.0 * np.arange(40)) / KT), rtol=1e-4)


def test_rows_are_counted_where_frames_have_no_times(peptide_pdb, atoms, tmp_path):
    for i in range(2):
        np.save(tmp_path / f"x{i}.npy", atoms)
        write(tmp_path / f"COLVAR.{i}", np.arange(40) * 0.1, w=np.arange(1.0, 41) + i)
    specs = [f"{tmp_path}/COLVAR.{i}:w" for i in range(2)]
    frames = read(Input(peptide_pdb, [tmp_path / "x0.npy", tmp_path / "x1.npy"], 300, 1.0, weights=specs), CA)
    np.testing.assert_allclose(frames.weights, np.concatenate([np.arange(1.0, 41), np.arange(2.0, 42)]))


@pytest.mark.parametrize(
    "change, spec, message",
    [
        (lambda text: text, "COLVAR:c:kJ/mol", "no column 'c'; it has time, b"),
        (lambda text: text, "COLVAR", "say which column"),
        (lambda text: text, "absent:b:kJ/mol", "absent"),
        (lambda text: text.removeprefix("#! FIELDS"), "COLVAR:b:kJ/mol", "no COLVAR file"),
        (lambda text: text, "COLVAR:b", "not negative"),
        (lambda text: text[:-4] + "x\n", "COLVAR:b:kJ/mol", "line 42"),
        (lambda text: text[: text.rindex(" ")], "COLVAR:b:kJ/mol", "expected 2 numbers"),
        (
            lambda text: text.replace("\n20.000000", "\n20.000000 nan\n#"),
            "COLVAR:b:kJ/mol",
            "not finite, first in frame 5",
        ),
        (lambda text: "\n".join(text.splitlines()[:-3]), "COLVAR:b:kJ/mol", "no row for frame 37 of"),
        (lambda text: text + text.replace("time b", "time c"), "COLVAR:b:kJ/mol", "other columns from line 43"),
        (lambda text: text.splitlines()[0], "COLVAR:b:kJ/mol", "holds no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(change, spec, message, run, peptide_pdb, monkeypatch):
    monkeypatch.chdir(run.parent)
    times = 10 + np.arange(40) * 2.0
    colvar = write(run.with_name("COLVAR"), times, b=bias_at(times))
    colvar.write_text(change(colvar.read_text()))
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(Input(peptide_pdb, [run], 300, weights=[spec]), CA)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_row_too_many_is_explained(peptide_pdb, atoms, tmp_path):
    np.save(tmp_path / "x.npy", atoms)
    write(tmp_path / "COLVAR", np.arange(41), b=np.arange(41))
    with pytest.raises(ValueError, match=r"41 rows .* 40 frames.*step 0"):
        read(Input(peptide_pdb, [tmp_path / "x.npy"], 300, 1.0, weights=[f"{tmp_path}/COLVAR:b:kJ/mol"]), CA)
    with pytest.raises(ValueError, match="2 runs need a table of weights each, as COLVAR:column"):
        read(Input(peptide_pdb, [tmp_path / "x.npy"] * 2, 300, 1.0, weights=[f"{tmp_path}/COLVAR:b:kJ/mol"]), CA)


def test_a_table_is_parsed_in_a_process_of_its_own_and_what_ends_that_is_one_line(run, peptide_pdb, monkeypatch):
    """The limit of memory is that of the parser; here it dies, as beyond that limit."""
    given = [f"{write(run.with_name('COLVAR'), [0.0], b=[1.0])}:b:kJ/mol"]
    fatal = run.with_name("parser_process.py")
    fatal.write_text(
        parsing.PROGRAM.read_text().replace("path, names = Path", "os.kill(os.getpid(), 11)\n    path, names = Path")
    )
    monkeypatch.setattr(parsing, "PROGRAM", fatal)
    monkeypatch.setattr(parsing, "_idle", [])
    with pytest.raises(ValueError, match=r"COLVAR crashes its parser \(SIGSEGV\)"):
        read(Input(peptide_pdb, [run], 300, weights=given), CA)
    for _, process, pipe in parsing._idle:
        process.kill()
        process.wait()
        pipe.close()
