"""GSD and TNG: what they do not state is not made up, and a package that lacks is named."""

import importlib.util
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from cgsurrogate.data.formats import mdanalysis_files
from cgsurrogate.data.formats.sources import sources


class Trajectory(list):
    """Of MDAnalysis, as far as its times: frames that state theirs, in a format that knows no spacing."""

    @property
    def dt(self):
        warnings.warn("Reader has no dt information, set to 1.0 ps", stacklevel=1)
        return 1.0


@pytest.mark.parametrize("clock", [(0.0, 10.0, 20.0), (5.0, 6.0, 9.0)])
def test_times_of_frames_count_where_the_spacing_is_not_known(clock):
    stated = Trajectory(SimpleNamespace(time=time, data={"time": time}) for time in clock)
    np.testing.assert_array_equal(mdanalysis_files.times(stated), clock)
    assert mdanalysis_files.times(Trajectory(SimpleNamespace(time=time, data={}) for time in clock)) is None


def test_gsd_states_neither_units_nor_times(peptide, atoms, tmp_path):
    hoomd = pytest.importorskip("gsd.hoomd")
    with hoomd.open(str(tmp_path / "x.gsd"), "w") as made:
        for step, xyz in enumerate(atoms):
            frame = hoomd.Frame()
            frame.configuration.step, frame.configuration.box = 500 * step, [30, 30, 30, 0, 0, 0]
            frame.particles.N, frame.particles.position = len(xyz), 10 * xyz
            frame.bonds.N, frame.bonds.group = 1, [(0, 1)]
            made.append(frame)
    with pytest.raises(ValueError, match=r"x.gsd does not say the unit of its positions; give it with --length-unit"):
        sources(tmp_path / "x.gsd", peptide.topology)
    (run,) = sources(tmp_path / "x.gsd", peptide.topology, "A")
    assert run.frames == len(atoms) and run.atoms == peptide.n_atoms and run.times is None and run.scale == 0.1


@pytest.mark.skipif(importlib.util.find_spec("gsd") is not None, reason="the package is there")
def test_a_package_that_lacks_is_named(tmp_path):
    (tmp_path / "x.gsd").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"x.gsd needs a package that is not installed: No module named 'gsd'$"):
        sources(tmp_path / "x.gsd", None)
