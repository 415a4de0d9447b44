"""Several trajectories in the ways that people write them."""

import numpy as np
import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.core.frames import Frames


@pytest.fixture
def here(tmp_path, monkeypatch, peptide_pdb, atoms):
    """A folder with a topology and runs 0, 2 and 10, told apart by where they lie."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "top.pdb").write_bytes(peptide_pdb.read_bytes())
    for run in (0, 2, 10):
        np.save(f"run{run}.npy", atoms + run)
    return tmp_path


def mapped(*words):
    return CliRunner().invoke(
        group, ["map", "-q", "-s", "top.pdb", "-T", "300", "--dt", "1", "--mapping", "ca", "-o", "out", *words]
    )


@pytest.mark.parametrize(
    "words",
    [
        ("-f", "run0.npy", "-f", "run2.npy", "-f", "run10.npy"),
        ("-f", "run0.npy", "run2.npy", "run10.npy"),
        ("-f", "run*.npy"),
        ("-f", "run0.npy", "--stride", "1", "run2.npy", "run10.npy"),
        ("-f", "run[0-9].npy", "run10.npy"),
    ],
)
def test_trajectories_are_taken_however_they_are_listed(here, words):
    result = mapped(*words)
    assert result.exit_code == 0, result.output
    frames = Frames.load(here / "out")
    assert frames.provenance.trajectories == ("run0.npy", "run2.npy", "run10.npy")
    centres = [frames.positions[run].mean() for run in frames.runs]
    np.testing.assert_allclose(np.diff(centres), (2, 8), atol=1e-5)
    assert ("3 file(s), run0.npy to run10.npy" in result.output) == (words == ("-f", "run*.npy"))


def test_what_matches_nothing_and_stray_words_are_refused(here):
    for words, message in (
        (("-f", "*.dcd"), "no file matches '*.dcd'"),
        (("run0.npy",), "unexpected argument 'run0.npy'"),
    ):
        result = mapped(*words)
        assert result.exit_code == 2 and message in result.output and not (here / "out").exists()
