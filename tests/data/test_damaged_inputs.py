"""Some of the damaged inputs of ``benchmarks/damaged_inputs.py``: one line that names the file, nothing left behind."""

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "damaged_inputs", Path(__file__).parents[2] / "benchmarks" / "damaged_inputs.py"
)
assert _spec is not None and _spec.loader is not None
damaged = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = damaged
_spec.loader.exec_module(damaged)

SOME = (
    *("xtc: cut short", "trr: empty", "dcd: promises more frames", "nc: another kind of file"),
    *("lammps: no unit of length", "npy: nan", "npz: bomb that promises 1 TB", "topology: missing CA"),
    *("topology psf: empty", "forces: all zero", "weights: all zero", "COLVAR: a row cut short", "gz: cut short"),
)


@pytest.mark.parametrize("title", SOME)
def test_a_damaged_input_is_one_line_and_leaves_nothing(title):
    _, line, wrong = damaged.look(title)
    assert not wrong, line


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in damaged.CASES if title not in SOME])
def test_every_other_one_does_the_same(title):
    _, line, wrong = damaged.look(title)
    assert not wrong, line
