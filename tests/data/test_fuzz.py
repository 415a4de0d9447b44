"""Every file that is read or stored, damaged at random: one line that names it, the same numbers, or a physical check.

``benchmarks/fuzz.py`` does the same some thousand times.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cgsurrogate.analysis.kinetics import state_definitions
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.data import mapping, system_file, validation

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
sys.path.insert(0, BENCHMARKS)
fuzz, targets = (importlib.import_module(name) for name in ("fuzz", "_fuzz_targets"))
sys.path.remove(BENCHMARKS)
UNPROTECTED = (*targets.TOPOLOGIES, "COLVAR", "system.toml", "lammpstrj", "pdb with models")  # text of others


@pytest.mark.parametrize("name", targets.TARGETS)
def test_damage_is_refused_or_changes_nothing(name, tmp_path):
    tally = fuzz.attacked(name, 30, 1, tmp_path / "files")
    assert not tally.ends["crashes"], tally.cases
    assert name in UNPROTECTED or not tally.ends["WRONG"], tally.cases
    assert tally.memory < 2e9


@pytest.mark.parametrize("moved", [0.06, 0.2])
@pytest.mark.parametrize("frame", [0, 7, 39])
def test_an_atom_that_moves_in_one_frame_is_named(frame, moved, atoms, peptide):
    bonds, labels = np.array([(0, 4), (4, 6)]), [str(a) for a in peptide.topology.atoms]
    along = atoms[frame, 6] - atoms[frame, 4]
    atoms[frame, 6] += moved * along / np.linalg.norm(along)
    shape = validation.Shape("t.xtc", bonds, labels)
    for begin in range(0, 40, 7):
        shape.add(atoms[begin : begin + 7], range(begin, min(40, begin + 7)))
    with pytest.raises(ValueError, match=rf"^t.xtc: bonded atoms \S+ and {labels[6]} are .* nm .* in frame {frame}\b"):
        shape.check()


def test_an_atom_that_keeps_its_bonds_is_named_by_an_angle():
    shape = validation.Shape("t.xtc", np.array([(0, 1), (1, 2)]), ["a", "b", "c"])
    xyz = np.tile(np.array([[0.1, 0, 0], [0, 0, 0], [-0.1, 0.05, 0]], np.float32), (10, 1, 1))
    xyz[4, 2] = [0.05, 0.1, 0]
    shape.add(xyz, range(20, 40, 2))
    with pytest.raises(ValueError, match=r"neighbours of one atom, a and c are 0.112 nm .* frame 28, usually 0.2"):
        shape.check()


def test_vibrations_are_no_damage(peptide):
    """Bonds of a simulation at 300 K have a standard deviation of 0.004 nm."""
    rng = np.random.default_rng(0)
    xyz = np.zeros((100_000, 2, 3), np.float32)
    xyz[:, 1, 0] = 0.15 + 0.005 * rng.normal(size=len(xyz))
    shape = validation.Shape("t.xtc", np.array([(0, 1)]), ["a", "b"])
    shape.add(xyz, range(len(xyz)))
    shape.check()


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"dt": ' + "9" * 5000 + "}", '{"a": NaN, "checksum": "b"}', "\x00"],
)
def test_json_that_no_one_wrote_is_one_line(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json") as error:
        filesystem.read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("lengths", [[10**18], [1e18], [1e999], [-5, 45], [10**18, 10**18], ["a"], [[40]], 40])
@pytest.mark.parametrize("key", ["lengths", "beads"])
def test_numbers_of_a_manifest_that_cannot_be_are_one_line(key, lengths, peptide_frames, tmp_path):
    folder = peptide_frames.save(tmp_path / "frames")
    manifest = filesystem.read_json(folder / MANIFEST)
    if key == "lengths":
        manifest["lengths"] = lengths
    else:
        manifest["beads"]["types" if lengths == 40 else "residues"] = lengths
    (folder / MANIFEST).write_text(json.dumps(manifest))  # without a checksum, as earlier versions wrote it
    with pytest.raises(ValueError) as error:
        Frames.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["(" * 5000, f"{'(' * 300}name CA{')' * 300}", "not " * 2000, "name CA or " * 9000, "x" * 30_000]
)
def test_selections_without_end_are_one_short_line(text, peptide, tmp_path):
    (tmp_path / "beads.txt").write_text(f"A = {text}\n")
    custom = registry.builder("mappings", "custom")
    for build in (lambda top: custom(top, tmp_path / "beads.txt"), mapping.builder("ca", text)):
        with pytest.raises(ValueError) as error:
            build(peptide.topology)
        assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("text", ["[" * 5000, "a = " + "[" * 5000, "a = " + "9" * 5000])
def test_a_system_file_without_end_is_one_short_line(text, tmp_path):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ValueError, match=r"s\.toml is no TOML") as error:
        system_file.load(tmp_path / "s.toml")
    assert len(str(error.value)) < 300


def test_states_and_kinds_without_end_are_one_short_line():
    for wrong in ("a=" + "x<3&" * 5000, "(" * 5000, "a=" + "(" * 5000):
        with pytest.raises(ValueError) as error:
            state_definitions.parse(wrong)
        assert len(str(error.value)) < 500
    for wrong in ("(" * 5000, "rmsd:" + "(" * 5000, "rmsd:a=" + "9" * 5000):
        with pytest.raises(ValueError) as error:
            name, options = registry.parse(wrong)
            registry.build("cvs", name, None, **options)
        assert len(str(error.value)) < 500


def test_a_change_of_a_manifest_is_noticed_unless_it_is_meant(peptide_frames, tmp_path):
    folder = peptide_frames.save(tmp_path / "frames")
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"dt": 2.0', '"dt": 3.0'))
    with pytest.raises(ValueError, match=r"frames\.json has changed since it was written .*take out the line"):
        Frames.load(folder)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "checksum" not in line))
    assert Frames.load(folder).dt == 3.0
