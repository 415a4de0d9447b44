"""Data sets of molecules: stored, divided, and told from the frames of one."""

import numpy as np
import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.core.frames import Beads, Frames


@pytest.fixture
def several(tmp_path):
    made = {}
    for k, name in enumerate(("AK", "GP", "SV", "DN", "FW")):
        bead = Beads(("CA",), (13,), (12.0,), (0,), ("ALA",))
        made[name] = Frames(bead, np.full((4, 1, 3), k, np.float32), (4,), dt=1.0, temperature=300.0)
    FrameSet(made).save(tmp_path / "set")
    return tmp_path / "set"


def test_a_data_set_is_read_as_it_was_written(several):
    found = FrameSet.load(several)
    assert list(found) == ["AK", "GP", "SV", "DN", "FW"]
    assert [float(frames.positions[0, 0, 0]) for frames in found.values()] == [0, 1, 2, 3, 4]


def test_a_split_shares_no_molecule_and_loses_none(several):
    whole = FrameSet.load(several)
    for seed in range(5):
        kept, held = whole.split(0.4, seed)
        assert len(held) == 2 and sorted([*kept, *held]) == sorted(whole)
    assert {tuple(whole.split(0.4, seed)[1]) for seed in range(8)} != {tuple(whole.split(0.4, 0)[1])}
    with pytest.raises(ValueError, match="one molecule"):
        FrameSet({"AK": whole["AK"]}).split(0.5)


def test_the_command_divides_by_molecule(several, tmp_path):
    out = [str(tmp_path / "a"), str(tmp_path / "b")]
    result = CliRunner().invoke(group, ["split", str(several), "--held-out", "0.2", "-o", *out])
    assert result.exit_code == 0 and "4 molecules" in result.output and "1 molecule:" in result.output
    assert len(FrameSet.load(out[0])) == 4 and len(FrameSet.load(out[1])) == 1


def test_where_one_molecule_is_expected_its_name_is_asked_for(several):
    with pytest.raises(ValueError, match=r"a data set of several molecules.*set/[A-Z]{2}"):
        Frames.load(several)
