"""What is left of files that are cut short: their whole frames, and a word on the others, where that is wished."""

import json
import struct
import tempfile

import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner
from written_files import write_lammps, write_netcdf

from cgsurrogate.cli import group
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.read import Input, read

CA = registry.builder("mappings", "ca")


def cut_file(path, peptide, atoms, lost):
    """A file of 40 frames without its last bytes."""
    if path.suffix == ".dump":
        write_lammps(path, atoms * 10)
    elif path.suffix == ".nc":
        write_netcdf(path, atoms * 10, atoms)
    else:
        mdtraj.Trajectory(atoms, peptide.topology, time=np.arange(40) * 2.0).save(str(path))
    data = path.read_bytes()
    data = data[: data.rindex(b"ENDMDL") + 7] if path.suffix == ".pdb" else data  # without the bonds
    path.write_bytes(data[:-lost])


@pytest.mark.parametrize("lost", [12, 300])
@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "nc", "pdb", "gro", "dump"])
def test_whole_frames_are_recovered_and_the_rest_is_told(
    ending, lost, peptide, peptide_pdb, atoms, tmp_path, monkeypatch
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    path = tmp_path / f"t.{ending}"
    cut_file(path, peptide, atoms, lost)
    unit = {"length_unit": "A"} if ending == "dump" else {}
    with pytest.raises(ValueError, match=rf"t.{ending} is cut short.* 39 whole frames.*--recover"):
        read(Input(peptide_pdb, [path], 300, dt=2, no_forces=True, **unit), CA)
    found = read(Input(peptide_pdb, [path], 300, dt=2, no_forces=True, recover=True, **unit), CA)
    assert found.lengths == (39,)
    np.testing.assert_allclose(found.positions, CA(peptide.topology).positions(atoms[:39]), atol=6e-4)
    (told,) = found.provenance.left_out
    assert told.startswith(f"t.{ending}: 1 of 40 frames left out") and not list(folder.iterdir())


def test_a_dcd_whose_header_promises_more_frames(peptide, peptide_pdb, atoms, tmp_path):
    path = tmp_path / "t.dcd"
    mdtraj.Trajectory(atoms, peptide.topology).save(str(path))
    data = bytearray(path.read_bytes())
    data[8:12] = struct.pack("<i", 500)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"40 whole frames of the 500 .*--recover"):
        read(Input(peptide_pdb, [path], 300, dt=2), CA)
    found = read(Input(peptide_pdb, [path], 300, dt=2, recover=True), CA)
    assert found.lengths == (40,) and "460 of 500 frames" in found.provenance.left_out[0]


def test_the_command_line_says_and_stores_what_was_left_out(peptide, peptide_pdb, atoms, tmp_path):
    cut_file(tmp_path / "t.xtc", peptide, atoms, 100)
    words = ["map", "-q", "-s", str(peptide_pdb), "-f", str(tmp_path / "t.xtc"), "-T", "300", "-o"]
    assert CliRunner().invoke(group, [*words, str(tmp_path / "no")]).exit_code != 0 and not (tmp_path / "no").exists()
    result = CliRunner().invoke(group, [*words, str(tmp_path / "out"), "--recover"])
    assert result.exit_code == 0 and "t.xtc: 1 of 40 frames left out" in result.output
    assert "left out" in json.dumps(json.loads((tmp_path / "out" / "frames.json").read_text())["source"])
    assert len(Frames.load(tmp_path / "out")) == 39
