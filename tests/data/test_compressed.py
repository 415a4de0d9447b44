"""Compressed trajectories and topologies are read as they come, and leave nothing behind."""

import bz2
import gzip
import lzma
import tempfile
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgsurrogate.core import registry
from cgsurrogate.data.formats import compressed
from cgsurrogate.data.read import Input, read

CA = registry.builder("mappings", "ca")
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files that nothing else writes to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", ["t.xtc", "t.pdb", "t.npy", "t.gro"])
def test_a_compressed_file_gives_what_it_gives_unpacked(name, ending, peptide, peptide_pdb, atoms, tmp_path):
    plain = tmp_path / name
    np.save(plain, atoms) if name == "t.npy" else mdtraj.Trajectory(atoms, peptide.topology).save(str(plain))
    packed, top = Path(f"{plain}{ending}"), tmp_path / f"top.pdb{ending}"
    packed.write_bytes(PACKERS[ending](plain.read_bytes()))
    top.write_bytes(PACKERS[ending](peptide_pdb.read_bytes()))
    found, expected = (read(Input(t, [p], 300, dt=1), CA) for t, p in ((top, packed), (peptide_pdb, plain)))
    np.testing.assert_array_equal(found.positions, expected.positions)
    assert found.provenance.trajectories == (packed.name,)


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_or_too_large_file_is_one_line(ending, peptide_pdb, atoms, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", atoms)
    whole, path = PACKERS[ending]((tmp_path / "x.npy").read_bytes()), tmp_path / f"x.npy{ending}"
    inner = PACKERS[ending]((tmp_path / "x.npy").read_bytes()[:-100])
    for content in (whole[:-1000], b"no archive", whole[:2000] + b"\0" * 500 + whole[2500:], inner, b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=path.name) as caught:
            read(Input(peptide_pdb, [path], 300, dt=1), CA)
        assert "\n" not in str(caught.value) and str(tmp_path / "temporary") not in str(caught.value)
        del caught
    path.write_bytes(whole)
    monkeypatch.setattr(compressed, "LARGEST", 10000)
    with pytest.raises(ValueError, match="larger than"):
        read(Input(peptide_pdb, [path], 300, dt=1), CA)
